//! Which row groups may hold a row for which a filter is true, by the bloom filters of ids and of nested columns.
//!
//! ```text
//! session_id = '0193…'                                                       the column, and the text that it must have
//! file_accessed['path'] = '/etc/shadow'                                      the same
//! CASE kind WHEN … THEN connection_attempted['host_name'] ELSE … END = 'h'   any of the columns that the value may come from
//! ```
//! The engine asks the bloom filters of top-level columns by itself, and reads them anew for each question; most of what people look for lies in
//! sub-records, whose filters it does not know: paths, hosts, programs ([`wk_store::layout::NEEDLES`]). Here both are asked, of filters that are
//! kept, and then the engine asks none. A row group is left out when no column that a value may come from can hold it. What is not understood
//! keeps everything in, and every row is still held against the filter.
//!
//! It is done on the plan as it will run: the engine takes members of sub-records out of filters before it asks a table for a scan, and only
//! then puts them into the scan.

use crate::filters::Filters;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, FileSource as _, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::Operator;
use datafusion::parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, Column, InListExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt as _, stream};
use object_store::{ObjectMeta, ObjectStore};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use wk_store::layout::IDS;

/// Files whose bloom filters are asked for at once.
const FILES_AT_ONCE: usize = 16;

/// The same plan, whose scans read the row groups that may hold what they look for.
///
/// # Errors
/// When the plan cannot be taken apart.
pub(crate) async fn narrow(
    plan: Arc<dyn ExecutionPlan>,
    runtime: &RuntimeEnv,
    filters: &Filters,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut scans = Vec::new();
    plan.apply(|node| {
        if let Some((config, source, needle)) = looking(node) {
            scans.push((config.clone(), source.clone().with_bloom_filter_on_read(false), needle));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let footers = runtime.cache_manager.get_file_metadata_cache();
    let mut narrowed = VecDeque::new();
    for (config, source, needle) in scans {
        let store = runtime.object_store(&config.object_store_url)?;
        let mut groups = Vec::new();
        for group in &config.file_groups {
            groups.push(needle.narrow(group, &*store, &footers, filters).await);
        }
        // Without a file there is nothing to start a thread for.
        groups.retain(|group| !group.is_empty());
        if groups.is_empty() {
            groups.push(FileGroup::default());
        }
        let config = FileScanConfigBuilder::from(config).with_source(Arc::new(source)).with_file_groups(groups);
        narrowed.push_back(config.build());
    }
    // Scans are leaves, which both ways through a plan come to in the same order.
    plan.transform_up(|node| match looking(&node).and_then(|_| narrowed.pop_front()) {
        Some(config) => Ok(Transformed::yes(DataSourceExec::from_data_source(config) as _)),
        None => Ok(Transformed::no(node)),
    })
    .data()
}

/// The scan that a node is, and what it looks for, if a bloom filter could tell of that.
fn looking(node: &Arc<dyn ExecutionPlan>) -> Option<(&FileScanConfig, &ParquetSource, Needle)> {
    let (config, source) = node.downcast_ref::<DataSourceExec>()?.downcast_to_file_source::<ParquetSource>()?;
    Some((config, source, Needle::of(&source.filter()?)?))
}

/// A column within a file, by its path.
type Path = Vec<String>;

/// What has to hold of ids and nested columns wherever a filter is true.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    /// Nothing that is understood.
    Nothing,
    /// All of these.
    All(Vec<Asked>),
    /// One of these at least.
    Any(Vec<Asked>),
    /// One of the columns has one of the texts.
    Holds { columns: BTreeSet<Path>, texts: BTreeSet<String> },
}

/// The texts that a filter looks for in ids and nested columns.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Needle(Asked);

impl Needle {
    /// What a filter looks for; `None` when it is nothing that a bloom filter could tell of.
    fn of(filter: &Arc<dyn PhysicalExpr>) -> Option<Self> {
        match Asked::of(filter) {
            Asked::Nothing => None,
            asked => Some(Self(asked)),
        }
    }

    /// The files that may hold it, each with the row groups to read.
    async fn narrow(
        &self,
        files: &FileGroup,
        store: &dyn ObjectStore,
        footers: &Arc<FileMetadataCache>,
        filters: &Filters,
    ) -> FileGroup {
        let narrowed = stream::iter(files.files().to_vec()).map(async |file: PartitionedFile| {
            match self.kept(store, footers, filters, &file.object_meta).await {
                Ok(kept) if !kept.contains(&true) => None,
                Ok(kept) if kept.contains(&false) => {
                    let access = |kept| if kept { RowGroupAccess::Scan } else { RowGroupAccess::Skip };
                    Some(file.with_extension(ParquetAccessPlan::new(kept.into_iter().map(access).collect())))
                }
                // A file that cannot be read keeps its rows: whoever reads them says what is wrong with it.
                Ok(_) | Err(_) => Some(file),
            }
        });
        FileGroup::new(narrowed.buffered(FILES_AT_ONCE).filter_map(async |file| file).collect().await)
    }

    /// For each row group of a file whether it may hold what is looked for.
    async fn kept(
        &self,
        store: &dyn ObjectStore,
        footers: &Arc<FileMetadataCache>,
        filters: &Filters,
        file: &ObjectMeta,
    ) -> Result<Vec<bool>> {
        let footer = |pages| {
            let footer = DFParquetMetadata::new(store, file).with_file_metadata_cache(Some(Arc::clone(footers)));
            footer.with_page_index_policy(Some(pages))
        };
        let metadata = footer(PageIndexPolicy::Skip).fetch_metadata().await?;
        let mut columns = BTreeSet::new();
        self.0.columns(&mut columns);
        let columns = indexes(&metadata, &columns);
        let wanted: Vec<usize> = columns.values().copied().collect();
        let filters = filters.of(store, file, &metadata, &wanted).await?;
        let kept: Vec<bool> = filters
            .iter()
            .map(|filters| {
                // A column that the file does not have is null in every row.
                self.0.may_hold(&|column: &Path, text: &str| {
                    columns.get(column).is_some_and(|index| filters.get(index).is_none_or(|filter| filter.check(text)))
                })
            })
            .collect();
        if kept.contains(&true) {
            // The file will be read, and the engine does not keep the index of its pages unless it finds it kept.
            footer(PageIndexPolicy::Optional).fetch_metadata().await?;
        }
        Ok(kept)
    }
}

/// Where those columns are among the leaf columns of a file.
fn indexes(metadata: &ParquetMetaData, wanted: &BTreeSet<&Path>) -> BTreeMap<Path, usize> {
    let all = metadata.file_metadata().schema_descr().columns().iter().enumerate();
    let wanted = |path: &[String]| wanted.iter().find(|wanted| ***wanted == path).map(|wanted| Path::clone(wanted));
    all.filter_map(|(index, column)| Some((wanted(column.path().parts())?, index))).collect()
}

impl Asked {
    fn of(filter: &Arc<dyn PhysicalExpr>) -> Self {
        if let Some(pair) = filter.downcast_ref::<BinaryExpr>() {
            let (left, right) = (pair.left(), pair.right());
            return match pair.op() {
                Operator::And => Self::all(vec![Self::of(left), Self::of(right)]),
                Operator::Or => Self::any(vec![Self::of(left), Self::of(right)]),
                Operator::Eq => match (text(left), text(right)) {
                    (None, Some(text)) => Self::holds(left, [text]),
                    (Some(text), None) => Self::holds(right, [text]),
                    _ => Self::Nothing,
                },
                _ => Self::Nothing,
            };
        }
        match filter.downcast_ref::<InListExpr>() {
            Some(list) if !list.negated() => {
                let texts: Option<Vec<_>> = list.list().iter().map(text).collect();
                texts.map_or(Self::Nothing, |texts| Self::holds(list.expr(), texts))
            }
            _ => Self::Nothing,
        }
    }

    fn all(mut parts: Vec<Self>) -> Self {
        parts.retain(|part| *part != Self::Nothing);
        if parts.is_empty() { Self::Nothing } else { Self::All(parts) }
    }

    fn any(parts: Vec<Self>) -> Self {
        if parts.contains(&Self::Nothing) { Self::Nothing } else { Self::Any(parts) }
    }

    fn holds<'t>(value: &Arc<dyn PhysicalExpr>, texts: impl IntoIterator<Item = &'t str>) -> Self {
        let mut columns = BTreeSet::new();
        if !sources(value, &mut columns) {
            return Self::Nothing;
        }
        Self::Holds { columns, texts: texts.into_iter().map(str::to_owned).collect() }
    }

    fn columns<'s>(&'s self, out: &mut BTreeSet<&'s Path>) {
        match self {
            Self::Nothing => {}
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.columns(out)),
            Self::Holds { columns, .. } => out.extend(columns),
        }
    }

    /// Whether it may be so where `may` says which column may have which text.
    fn may_hold(&self, may: &impl Fn(&Path, &str) -> bool) -> bool {
        match self {
            Self::Nothing => true,
            Self::All(parts) => parts.iter().all(|part| part.may_hold(may)),
            Self::Any(parts) => parts.iter().any(|part| part.may_hold(may)),
            Self::Holds { columns, texts } => columns.iter().any(|column| texts.iter().any(|text| may(column, text))),
        }
    }
}

/// The text that an expression is.
fn text(expr: &Arc<dyn PhysicalExpr>) -> Option<&str> {
    expr.downcast_ref::<Literal>()?.value().try_as_str().flatten()
}

/// Adds the ids and nested columns that the text of an expression comes from; `false` when it may come from anywhere else.
fn sources(expr: &Arc<dyn PhysicalExpr>, out: &mut BTreeSet<Path>) -> bool {
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        // A null equals nothing.
        return literal.value().is_null();
    }
    if let Some(case) = expr.downcast_ref::<CaseExpr>() {
        let mut values = case.when_then_expr().iter().map(|(_, then)| then).chain(case.else_expr());
        return values.all(|value| sources(value, out));
    }
    match member(expr) {
        Some(path) if path.len() > 1 || IDS.contains(&path[0].as_str()) => {
            out.insert(path);
            true
        }
        _ => false,
    }
}

/// The path of a column, or of a member of a sub-record.
fn member(expr: &Arc<dyn PhysicalExpr>) -> Option<Path> {
    if let Some(column) = expr.downcast_ref::<Column>() {
        return Some(vec![column.name().to_owned()]);
    }
    let call = expr.downcast_ref::<ScalarFunctionExpr>().filter(|call| call.name() == "get_field")?;
    let (of, names) = call.args().split_first()?;
    let mut path = member(of)?;
    for name in names {
        path.push(text(name)?.to_owned());
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::file_schema;
    use datafusion::common::DFSchema;
    use datafusion::common::ScalarValue;
    use datafusion::functions::core::expr_ext::FieldAccessor as _;
    use datafusion::logical_expr::Expr;
    use datafusion::prelude::{SessionContext, col, lit, when};

    fn path() -> Expr {
        col("file_accessed").field("path")
    }

    fn held_or_tried() -> Expr {
        let tried = col("connection_attempted").field("host_name");
        let held = col("approval_requested").field("host_name");
        when(col("kind").eq(lit("connection_attempted")), tried).otherwise(held).unwrap()
    }

    fn needle(filter: Expr) -> Option<Needle> {
        let schema = DFSchema::try_from(file_schema().as_ref().clone()).unwrap();
        Needle::of(&SessionContext::new().create_physical_expr(filter, &schema).unwrap())
    }

    /// Whether a row group of these texts would be read.
    fn reads(filter: Expr, there: &[(&str, &str)]) -> bool {
        let may = |column: &Path, text: &str| there.contains(&(column.join(".").as_str(), text));
        needle(filter).is_none_or(|needle| needle.0.may_hold(&may))
    }

    #[test]
    fn a_row_group_is_read_when_it_may_have_what_is_looked_for() {
        let shadow = ("file_accessed.path", "/etc/shadow");
        assert!(reads(path().eq(lit("/etc/shadow")), &[shadow]));
        assert!(!reads(path().eq(lit("/etc/shadow")), &[("file_accessed.path", "/etc/hosts")]));
        assert!(!reads(lit("/etc/passwd").eq(path()), &[shadow]));
        assert!(reads(path().in_list(vec![lit("/etc/passwd"), lit("/etc/shadow")], false), &[shadow]));
        assert!(!reads(path().in_list(vec![lit("/etc/passwd")], false), &[shadow]));
        // An id, which is read as a view.
        let session = || col("session_id").eq(lit(ScalarValue::Utf8View(Some("0193".into()))));
        assert!(!reads(session(), &[("session_id", "0194")]));
        assert!(reads(session().and(path().eq(lit("/etc/shadow"))), &[shadow, ("session_id", "0193")]));
        // Both, or one of them.
        let both = path().eq(lit("/etc/shadow")).and(held_or_tried().eq(lit("drop.example.org")));
        let one = path().eq(lit("/etc/shadow")).or(held_or_tried().eq(lit("drop.example.org")));
        assert!(!reads(both.clone(), &[shadow]));
        assert!(reads(one, &[shadow]));
        // A value that comes from one of several columns.
        for column in ["connection_attempted.host_name", "approval_requested.host_name"] {
            assert!(reads(both.clone(), &[shadow, (column, "drop.example.org")]), "{column}");
        }
    }

    #[test]
    fn what_is_not_understood_leaves_everything_in() {
        for filter in [
            path().not_eq(lit("/etc/shadow")),
            !path().eq(lit("/etc/shadow")),
            path().in_list(vec![lit("/etc/shadow")], true),
            path().like(lit("/etc/%")),
            path().eq(col("topic")),
            path().eq(lit("/etc/shadow")).or(col("seq").gt(lit(3))),
            col("topic").eq(lit("agent.session.events.v1")),
            path().is_null(),
            when(path().is_null(), lit("HELD")).otherwise(path()).unwrap().eq(lit("HELD")),
        ] {
            assert_eq!(needle(filter.clone()), None, "{filter}");
        }
        // Beside something that is understood it changes nothing.
        assert!(!reads(col("seq").gt(lit(3)).and(path().eq(lit("/etc/shadow"))), &[]));
        // A case is null where it says so, and a null equals nothing.
        let filter = when(path().is_null(), lit(ScalarValue::Utf8(None))).otherwise(path()).unwrap();
        assert!(!reads(filter.eq(lit("/etc/shadow")), &[]));
    }
}
