//! The configuration's JSON Schema, made from the structs that read it.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::{Value, json};

/// JSON Schema (2020-12) of the configuration: keys, types and choices. What depends on other keys or on the host is
/// checked by [`super::Config::load`] only.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(without_null));
    settings.into_generator().into_root_schema_for::<super::raw::Root>().to_value()
}

/// A key that may be absent is not one that may be null: TOML has no null.
fn without_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if object.get("default").is_some_and(Value::is_null) {
        object.shift_remove("default");
    }
    // `mistyped = "null"` is a word of ours and stays.
    let nulls = [("type", json!("null")), ("enum", Value::Null), ("anyOf", json!({"type": "null"}))];
    for (key, null) in nulls {
        let Some(Value::Array(choices)) = object.get_mut(key) else { continue };
        choices.retain(|choice| *choice != null);
        let [only] = choices.as_mut_slice() else { continue };
        let only = only.take();
        match (key, only) {
            ("anyOf", Value::Object(only)) => {
                object.shift_remove(key);
                object.extend(only);
            }
            ("enum", only) => *choices = vec![only],
            (_, only) => {
                object.insert(key.to_owned(), only);
            }
        }
    }
}
