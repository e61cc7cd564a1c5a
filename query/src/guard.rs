//! Read only, by plan.
//!
//! Every node of the plan, those of subqueries, views and `EXPLAIN` included, has to be one that only reads. The list is
//! complete and has no wildcard: a node that a later version of the engine adds makes the compiler ask about it. What
//! makes rows or long texts out of nothing is taken out of the engine altogether, because no limit sees it coming.

use crate::error::QueryError;
use datafusion::common::tree_node::{TreeNodeRecursion, TreeNodeVisitor};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::registry::FunctionRegistry as _;
use datafusion::prelude::SessionContext;

/// Functions that make an array or a text of any length out of two numbers, in one allocation that no limit covers.
const UNBOUNDED: [&str; 9] = [
    "range",
    "generate_series",
    "array_repeat",
    "list_repeat",
    "array_resize",
    "list_resize",
    "repeat",
    "lpad",
    "rpad",
];

/// Refuses a plan that does anything but read.
pub(crate) fn check(plan: &LogicalPlan) -> std::result::Result<(), QueryError> {
    let mut guard = Guard { refused: None };
    plan.visit_with_subqueries(&mut guard)
        .map_err(|error| QueryError::Invalid { message: error.strip_backtrace(), place: None })?;
    match guard.refused {
        Some(what) => Err(QueryError::Refused { what }),
        None => Ok(()),
    }
}

struct Guard {
    refused: Option<String>,
}

impl TreeNodeVisitor<'_> for Guard {
    type Node = LogicalPlan;

    fn f_down(&mut self, node: &LogicalPlan) -> Result<TreeNodeRecursion> {
        let refused = match node {
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::TableScan(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::DescribeTable(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::RecursiveQuery(_) => return Ok(TreeNodeRecursion::Continue),
            LogicalPlan::Statement(statement) => statement.name().to_owned(),
            LogicalPlan::Dml(dml) => dml.op.to_string(),
            LogicalPlan::Ddl(ddl) => ddl.name().to_owned(),
            LogicalPlan::Copy(_) => "COPY".to_owned(),
            LogicalPlan::Extension(extension) => extension.node.name().to_owned(),
        };
        self.refused = Some(refused);
        Ok(TreeNodeRecursion::Stop)
    }
}

/// Takes out of an engine what could reach a file or make much out of nothing: the factories behind external tables, the
/// table functions, and [`UNBOUNDED`].
pub(crate) fn disarm(context: &SessionContext) -> std::result::Result<(), DataFusionError> {
    let state = context.state_ref();
    let mut state = state.write();
    state.table_factories_mut().clear();
    let tables: Vec<String> = state.table_functions().keys().cloned().collect();
    for name in tables {
        state.deregister_udtf(&name)?;
    }
    for name in UNBOUNDED {
        state.deregister_udf(name)?;
    }
    Ok(())
}
