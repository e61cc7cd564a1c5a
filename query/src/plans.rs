//! Optimized plans, kept by the text of their question.
//!
//! Of the few milliseconds that a needle takes, reading its question and optimizing its plan are a fifth, and a dashboard asks the same again and again.
//! A plan says nothing of the table's version: which files there are is found out when it is made ready to run. It goes by the text, by
//! the columns of the lake, and by the time where it asks for that. So one is kept for as long as the lake has those columns, and none with a function whose
//! value may be another the next time.

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use moka::sync::Cache;
use std::sync::Arc;
use wk_store::rows::Columns;

/// So many, those that were asked least let go of first.
const KEPT: u64 = 128;

/// A longer question is planned each time.
const SQL_BYTES_MAX: usize = 16 << 10;

/// A plan that only has to be made ready to run.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) plan: LogicalPlan,
    /// Whether it looks for few rows among many.
    pub(crate) seeks: bool,
}

/// The plans of earlier questions.
#[derive(Debug)]
pub(crate) struct Plans(Cache<String, (Arc<Columns>, Arc<Planned>)>);

impl Plans {
    pub(crate) fn new() -> Self {
        Self(Cache::new(KEPT))
    }

    /// The plan of this question, to a lake with these columns, if it is kept.
    pub(crate) fn of(&self, sql: &str, columns: &Arc<Columns>) -> Option<Arc<Planned>> {
        let (of, planned) = self.0.get(sql)?;
        Arc::ptr_eq(&of, columns).then_some(planned)
    }

    /// Keeps the plan of a question.
    pub(crate) fn keep(&self, sql: &str, columns: &Arc<Columns>, planned: &Arc<Planned>) {
        if sql.len() <= SQL_BYTES_MAX {
            self.0.insert(sql.to_owned(), (Arc::clone(columns), Arc::clone(planned)));
        }
    }
}

/// Whether a plan, not optimized yet, is the same whenever its question is asked.
///
/// # Errors
/// None of its own.
pub(crate) fn is_lasting(plan: &LogicalPlan) -> Result<bool> {
    let mut lasting = true;
    plan.apply_with_subqueries(|node| {
        lasting &= !matches!(node, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_));
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                lasting &= match part {
                    Expr::ScalarFunction(call) => call.func.signature().volatility == Volatility::Immutable,
                    Expr::Placeholder(_) | Expr::ScalarVariable(..) => false,
                    _ => true,
                };
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(lasting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::file_schema;
    use datafusion::datasource::empty::EmptyTable;
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn what_depends_on_more_than_its_text_is_not_lasting() {
        let context = SessionContext::new();
        context.register_table("records", Arc::new(EmptyTable::new(file_schema()))).unwrap();
        for (sql, expected) in [
            ("SELECT seq FROM records WHERE upper(session_id) = 'A' ORDER BY seq LIMIT 3", true),
            ("SELECT seq FROM records WHERE occurred_at > TIMESTAMP '2026-11-22' - INTERVAL '1 day'", true),
            ("SELECT seq FROM records WHERE occurred_at > now() - INTERVAL '1 day'", false),
            ("SELECT current_date(), seq FROM records", false),
            ("SELECT seq FROM records ORDER BY random()", false),
            ("SELECT seq FROM (SELECT seq, occurred_at < now() AS past FROM records) WHERE past", false),
            ("SELECT seq FROM records WHERE record_id IN (SELECT uuid() FROM records)", false),
            ("EXPLAIN SELECT seq FROM records", false),
            ("SELECT seq FROM records WHERE seq = $1", false),
        ] {
            let plan = context.state().create_logical_plan(sql).await.unwrap();
            assert_eq!(is_lasting(&plan).unwrap(), expected, "{sql}");
        }
    }
}
