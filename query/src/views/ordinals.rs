//! `ordinals(list)`: the places of a list's items, `[1, 2, 3]`. What `plans` numbers its steps with.
//!
//! The engine's own functions for that take any number and so any amount of memory; this one is as long as its list.

use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array, ListArray};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use std::sync::Arc;

/// The function.
pub(crate) fn ordinals() -> ScalarUDF {
    ScalarUDF::from(Ordinals { signature: Signature::new(TypeSignature::Any(1), Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Ordinals {
    signature: Signature,
}

impl ScalarUDFImpl for Ordinals {
    fn name(&self) -> &'static str {
        "ordinals"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(item()))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [list] = ColumnarValue::values_to_arrays(&arguments.args)?.try_into().expect("the signature says one");
        let list: ArrayRef = list;
        let Some(list) = list.as_list_opt::<i32>() else {
            return exec_err!("ordinals takes a list, not {}", list.data_type());
        };
        let places: Int64Array =
            list.offsets().lengths().flat_map(|length| 1..=i64::try_from(length).unwrap_or(0)).collect();
        let offsets = arrow::buffer::OffsetBuffer::from_lengths(list.offsets().lengths());
        Ok(ColumnarValue::Array(Arc::new(ListArray::new(item(), offsets, Arc::new(places), list.nulls().cloned()))))
    }
}

fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Int64, true))
}
