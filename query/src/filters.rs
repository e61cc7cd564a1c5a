//! Bloom filters of data files, kept from one question to the next.
//!
//! A data file never changes, so what was read of it once holds. Who looks for one path or host among ten million records asks the filters of every
//! file: to read them again each time takes longer than the rest of the question.

use datafusion::common::Result;
use datafusion::parquet::bloom_filter::Sbbf;
use datafusion::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use moka::sync::Cache;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// File, row group, and the place of the column among the file's leaf columns.
type Place = (Path, usize, usize);

/// The filters that were read, those that were asked least let go of first.
#[derive(Debug)]
pub(crate) struct Filters(Cache<Place, Arc<Sbbf>>);

impl Filters {
    /// Keeps so many bytes of filters.
    pub(crate) fn new(bytes: u64) -> Self {
        let weight = |place: &Place, filter: &Arc<Sbbf>| {
            // A block of a filter is 256 bits.
            u32::try_from(place.0.as_ref().len() + filter.num_blocks() * 32 + 128).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(bytes).weigher(weight).build())
    }

    /// For each row group of a file the filters that it has on those columns, by column.
    ///
    /// # Errors
    /// When a filter cannot be read.
    pub(crate) async fn of(
        &self,
        store: &dyn ObjectStore,
        file: &ObjectMeta,
        metadata: &ParquetMetaData,
        columns: &[usize],
    ) -> Result<Vec<BTreeMap<usize, Arc<Sbbf>>>> {
        let mut filters = vec![BTreeMap::new(); metadata.num_row_groups()];
        let (mut places, mut ranges) = (Vec::new(), Vec::new());
        for (row_group, of) in metadata.row_groups().iter().enumerate() {
            for &column in columns {
                if let Some(kept) = self.0.get(&(file.location.clone(), row_group, column)) {
                    filters[row_group].insert(column, kept);
                } else if let Some(range) = place(of.column(column)).filter(|range| range.end <= file.size) {
                    places.push((row_group, column));
                    ranges.push(range);
                }
            }
        }
        if !ranges.is_empty() {
            let bytes = store.get_ranges(&file.location, &ranges).await?;
            for ((row_group, column), bytes) in places.into_iter().zip(&bytes) {
                let filter = Arc::new(Sbbf::from_bytes(bytes)?);
                self.0.insert((file.location.clone(), row_group, column), Arc::clone(&filter));
                filters[row_group].insert(column, filter);
            }
        }
        Ok(filters)
    }
}

/// Where in its file the bloom filter of a column is, if it has one.
fn place(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let begin = u64::try_from(column.bloom_filter_offset()?).ok()?;
    let length = u64::try_from(column.bloom_filter_length()?).ok()?;
    Some(begin..begin.checked_add(length)?)
}
