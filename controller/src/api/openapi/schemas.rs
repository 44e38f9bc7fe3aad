//! The schemas of what is read and of what is written, under one roof.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// All schemas, and the names of those that differ where they are read: these are there a second time, with `.read` behind the
/// name. What refers to one that differs, differs.
pub(super) fn united(
    reading: Map<String, Value>,
    writing: Map<String, Value>,
) -> (Map<String, Value>, BTreeSet<String>) {
    let mut apart = BTreeSet::new();
    loop {
        let differs = |name: &String, schema: &Value| {
            let written = writing.get(name);
            written.is_some_and(|it| it != schema || refers_to(schema, &apart))
        };
        let found: BTreeSet<String> = reading
            .iter()
            .filter(|(name, schema)| differs(name, schema))
            .map(|(name, _)| name.clone())
            .collect();
        if found == apart {
            break;
        }
        apart = found;
    }
    let mut schemas = writing;
    for (name, mut schema) in reading {
        point_at_read(&mut schema, &apart);
        let name = match apart.contains(&name) {
            true => format!("{name}.read"),
            false => name,
        };
        schemas.insert(name, schema);
    }
    (schemas, apart)
}

/// References to those that differ lead to what is read.
pub(super) fn point_at_read(value: &mut Value, apart: &BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(target) if key == "$ref" => {
                        if apart.contains(name_of(target)) {
                            target.push_str(".read");
                        }
                    }
                    _ => point_at_read(member, apart),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|it| point_at_read(it, apart)),
        _ => {}
    }
}

fn refers_to(value: &Value, names: &BTreeSet<String>) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(key, member)| match member {
            Value::String(target) if key == "$ref" => names.contains(name_of(target)),
            _ => refers_to(member, names),
        }),
        Value::Array(items) => items.iter().any(|it| refers_to(it, names)),
        _ => false,
    }
}

fn name_of(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn to(name: &str) -> Value {
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    #[test]
    fn what_leads_to_something_that_is_read_differently_is_told_apart_too() {
        let around = |inner: Value| {
            let mut schemas = Map::new();
            schemas.insert("Inner".to_owned(), inner);
            schemas.insert("Middle".to_owned(), json!({ "items": to("Inner") }));
            schemas.insert("Outer".to_owned(), json!({ "anyOf": [to("Middle")] }));
            schemas.insert("Same".to_owned(), json!({ "type": "string" }));
            schemas
        };
        let mut reading = around(json!({ "type": "object" }));
        let writing = around(json!({ "type": "object", "required": ["a"] }));
        let asked = json!({ "properties": { "a": to("Outer"), "b": to("Same") } });
        reading.insert("Asked".to_owned(), asked);

        let (schemas, apart) = united(reading, writing);
        assert!(apart.iter().eq(["Inner", "Middle", "Outer"]), "{apart:?}");
        assert_eq!(schemas["Inner"]["required"], json!(["a"]));
        assert_eq!(schemas["Inner.read"]["required"], json!(null));
        assert_eq!(schemas["Middle"]["items"], to("Inner"));
        assert_eq!(schemas["Middle.read"]["items"], to("Inner.read"));
        assert_eq!(schemas["Outer.read"]["anyOf"][0], to("Middle.read"));
        let asked = &schemas["Asked"]["properties"];
        assert_eq!((&asked["a"], &asked["b"]), (&to("Outer.read"), &to("Same")));
        assert!(!schemas.contains_key("Same.read"));
    }
}
