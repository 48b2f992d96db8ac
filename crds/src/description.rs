//! Descriptions in the schema: each field shows its own.

use schemars::{Schema, transform::transform_subschemas};
use serde_json::Value;

/// Takes the types' own descriptions out of the choice that stands for an optional field, `anyOf` the type or null.
///
/// kube resolves such a choice by putting the type's keywords over the field's (`OptionalEnum` in kube-core's
/// `schema.rs`). For an enum that is its description too, and what the field said, its default with it, is gone.
pub(crate) fn keep_the_fields_own(schema: &mut Schema) {
    transform_subschemas(&mut keep_the_fields_own, schema);
    let choices = schema.get_mut("anyOf").and_then(Value::as_array_mut);
    for choice in choices.into_iter().flatten().filter_map(Value::as_object_mut) {
        choice.remove("description");
    }
}
