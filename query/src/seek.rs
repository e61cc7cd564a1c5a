//! Whether a question looks for few rows among many, so that of each row is decoded first what tells whether it is one of them.
//!
//! ```text
//! path = '/etc/shadow'      host_name IN ('a', 'b')      few rows
//! outcome <> 'HELD'         count > 1                    most rows, perhaps
//! kind = 'finding'          topic = 'findings'           no wonder in a file of one kind
//! ```
//! Leaving rows out while they are decoded takes a pass of its own over all of them. It pays when few are left, three to five times as it was
//! measured, and costs half as much again when most are (`README.md`).

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// What files are laid out by: a text of these is no needle.
const LAID_OUT_BY: [&str; 2] = ["kind", "topic"];

/// Whether some filter of the plan, those of its views and subqueries included, wants one of a few texts.
///
/// # Errors
/// None of its own.
pub(crate) fn seeks(plan: &LogicalPlan) -> Result<bool> {
    let mut seeks = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Filter(filter) = node {
            seeks |= split_conjunction(&filter.predicate).into_iter().any(wants_a_text);
        }
        Ok(if seeks { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(seeks)
}

/// Whether a plan goes in one line from a table to the answer, so that the optimizer has nothing to find in a second pass over it.
///
/// # Errors
/// None of its own.
pub(crate) fn straight(plan: &LogicalPlan) -> Result<bool> {
    let mut straight = true;
    plan.apply_with_subqueries(|node| {
        straight &= matches!(
            node,
            LogicalPlan::TableScan(_)
                | LogicalPlan::SubqueryAlias(_)
                | LogicalPlan::Projection(_)
                | LogicalPlan::Filter(_)
                | LogicalPlan::Aggregate(_)
                | LogicalPlan::Sort(_)
                | LogicalPlan::Limit(_)
                | LogicalPlan::Explain(_)
                | LogicalPlan::Analyze(_)
        );
        Ok(if straight { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(straight)
}

/// Takes columns that nobody asks for out of a straight plan before other rules look at them: of a view's twenty, most questions name three.
#[derive(Debug, Default)]
pub(crate) struct NarrowFirst(OptimizeProjections);

impl OptimizerRule for NarrowFirst {
    fn name(&self) -> &'static str {
        "narrow_first"
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if straight(&plan)? { self.0.rewrite(plan, config) } else { Ok(Transformed::no(plan)) }
    }
}

fn wants_a_text(condition: &Expr) -> bool {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            (is_text(right) && may_be_needle(left)) || (is_text(left) && may_be_needle(right))
        }
        Expr::InList(list) => !list.negated && list.list.iter().all(is_text) && may_be_needle(&list.expr),
        _ => false,
    }
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.try_as_str().is_some())
}

fn may_be_needle(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) => false,
        Expr::Column(column) => !LAID_OUT_BY.contains(&column.name()),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::file_schema;
    use datafusion::datasource::empty::EmptyTable;
    use datafusion::prelude::SessionContext;
    use std::sync::Arc;

    #[tokio::test]
    async fn few_rows_are_told_from_many() {
        let context = SessionContext::new();
        context.register_table("records", Arc::new(EmptyTable::new(file_schema()))).unwrap();
        for (filter, expected) in [
            ("file_accessed['path'] = '/etc/shadow'", true),
            ("'/etc/shadow' = file_accessed['path'] AND seq > 3", true),
            ("session_id IN ('a', 'b')", true),
            ("record_id IN (SELECT record_id FROM records WHERE session_id = 'a')", true),
            ("session_id <> 'a'", false),
            ("session_id NOT IN ('a', 'b')", false),
            ("session_id = writer", false),
            ("kind = 'finding'", false),
            ("kind IN ('finding', 'command') AND topic = 'a'", false),
            ("session_id = 'a' OR seq > 3", false),
            ("seq = 3", false),
            ("'a' = 'a'", false),
        ] {
            let plan = context.state().create_logical_plan(&format!("SELECT seq FROM records WHERE {filter}")).await;
            assert_eq!(seeks(&plan.unwrap()).unwrap(), expected, "{filter}");
        }
    }

    #[tokio::test]
    async fn a_plan_that_forks_is_not_straight() {
        let context = SessionContext::new();
        context.register_table("records", Arc::new(EmptyTable::new(file_schema()))).unwrap();
        for (sql, expected) in [
            (
                "SELECT kind, count(*) FROM (SELECT * FROM records WHERE seq > 3) GROUP BY kind ORDER BY kind LIMIT 3",
                true,
            ),
            ("EXPLAIN SELECT seq FROM records", true),
            ("SELECT a.seq FROM records a JOIN records b USING (record_id)", false),
            ("SELECT seq FROM records UNION ALL SELECT seq FROM records", false),
            ("SELECT seq FROM records WHERE record_id IN (SELECT record_id FROM records)", false),
            ("SELECT (SELECT max(seq) FROM records)", false),
        ] {
            let plan = context.state().create_logical_plan(sql).await;
            assert_eq!(straight(&plan.unwrap()).unwrap(), expected, "{sql}");
        }
    }
}
