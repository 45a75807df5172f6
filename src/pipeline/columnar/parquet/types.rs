//! Parquet's schema: the paths in it, how its values read as text, and the schema of an output.

use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};

use super::super::fault::half_a_map;
use super::super::plan::{Fate, Leaf, LeafMask};
use super::super::schema::{ROOT, Schema};
use super::malformed;
use crate::mask::{Mask, OnMistyped};
use crate::pipeline::fault::of_file;
use crate::pipeline::{Fault, Limits};

/// How the values of a column read as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Unsigned,
    Float,
    Date,
    Time {
        per_second: i64,
    },
    Timestamp {
        per_second: i64,
        utc: bool,
    },
    /// Nanoseconds of a day and a Julian day.
    Int96,
    Decimal {
        precision: i32,
        scale: i32,
    },
    Text,
    /// Text that only its type says to be more.
    SpecialText,
    /// Text or not: nothing says so.
    Bytes,
    Uuid,
    Hex,
}

impl Kind {
    pub(super) fn of(column: &Type) -> Kind {
        let info = column.get_basic_info();
        match (info.logical_type_ref(), column.get_physical_type()) {
            (Some(LogicalType::String), _) => Kind::Text,
            (Some(LogicalType::Enum | LogicalType::Json), _) => Kind::SpecialText,
            (Some(LogicalType::Integer(int)), _) if !int.is_signed => Kind::Unsigned,
            (Some(LogicalType::Date), _) => Kind::Date,
            (Some(LogicalType::Time(time)), _) => Kind::Time { per_second: per_second(time.unit) },
            (Some(LogicalType::Timestamp(stamp)), _) => {
                Kind::Timestamp { per_second: per_second(stamp.unit), utc: stamp.is_adjusted_to_u_t_c }
            }
            (Some(LogicalType::Decimal(decimal)), _) => {
                Kind::Decimal { precision: decimal.precision, scale: decimal.scale }
            }
            (Some(LogicalType::Uuid), _) => Kind::Uuid,
            (None, physical) => Kind::of_converted(info.converted_type(), physical, column),
            (_, physical) => Kind::of_physical(physical),
        }
    }

    fn of_converted(converted: ConvertedType, physical: Physical, column: &Type) -> Kind {
        match converted {
            ConvertedType::UTF8 => Kind::Text,
            ConvertedType::ENUM | ConvertedType::JSON => Kind::SpecialText,
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 => {
                Kind::Unsigned
            }
            ConvertedType::DATE => Kind::Date,
            ConvertedType::TIME_MILLIS => Kind::Time { per_second: 1_000 },
            ConvertedType::TIME_MICROS => Kind::Time { per_second: 1_000_000 },
            ConvertedType::TIMESTAMP_MILLIS => Kind::Timestamp { per_second: 1_000, utc: true },
            ConvertedType::TIMESTAMP_MICROS => Kind::Timestamp { per_second: 1_000_000, utc: true },
            ConvertedType::DECIMAL => Kind::Decimal { precision: column.get_precision(), scale: column.get_scale() },
            ConvertedType::INTERVAL | ConvertedType::BSON => Kind::Hex,
            _ => Kind::of_physical(physical),
        }
    }

    fn of_physical(physical: Physical) -> Kind {
        match physical {
            Physical::BOOLEAN => Kind::Bool,
            Physical::INT32 | Physical::INT64 => Kind::Int,
            Physical::INT96 => Kind::Int96,
            Physical::FLOAT | Physical::DOUBLE => Kind::Float,
            Physical::BYTE_ARRAY => Kind::Bytes,
            Physical::FIXED_LEN_BYTE_ARRAY => Kind::Hex,
        }
    }

    /// Whether a number that a mask gives can be stored as one.
    fn is_number(self) -> bool {
        matches!(self, Kind::Int | Kind::Unsigned | Kind::Float | Kind::Decimal { .. })
    }
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::MILLIS => 1_000,
        TimeUnit::MICROS => 1_000_000,
        TimeUnit::NANOS => 1_000_000_000,
    }
}

/// What becomes of a masked column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// It becomes text; else it stays what it is.
    pub is_text: bool,
    /// A column that had a value in every place may be null now.
    pub becomes_optional: bool,
    /// A value may be null: it could be before, or can be now.
    pub is_nullable: bool,
}

impl Target {
    /// `None` for a mask that would null what must be there.
    pub(super) fn of(column: &Type, is_map_key: bool, leaf: &LeafMask) -> Option<Target> {
        let kind = Kind::of(column);
        let stays = match leaf.mask {
            Mask::Null => true,
            _ if leaf.mask.yields_number() && kind.is_number() => true,
            _ => matches!(kind, Kind::Text | Kind::Bytes),
        };
        let nulls = leaf.mask.takes_away()
            || leaf.mistyped == OnMistyped::Null
            || (leaf.mistyped == OnMistyped::Redact && kind.is_number() && stays);
        let repetition = column.get_basic_info().repetition();
        let can_change = repetition == Repetition::REQUIRED && !is_map_key;
        let is_nullable = repetition == Repetition::OPTIONAL || (can_change && nulls);
        if leaf.mask == Mask::Null && !is_nullable {
            return None;
        }
        Some(Target { is_text: !stays, becomes_optional: can_change && nulls, is_nullable })
    }
}

/// Which group a column's parent is.
#[derive(Clone, Copy, PartialEq)]
enum Group {
    Struct,
    List,
    Map,
}

fn group(node: &Type) -> Group {
    let info = node.get_basic_info();
    match (info.logical_type_ref(), info.converted_type()) {
        (Some(LogicalType::List), _) | (_, ConvertedType::LIST) => Group::List,
        (Some(LogicalType::Map), _) | (_, ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE) => Group::Map,
        _ => Group::Struct,
    }
}

/// The paths of a Parquet file. Lists and maps are spelled as in JSON: `contacts[*].phone`, `tags[*].key`.
pub(super) fn schema(root: &Type, limits: Limits) -> Result<Schema, Fault> {
    let mut schema = Schema::new(limits);
    fields(&mut schema, ROOT, root)?;
    Ok(schema)
}

fn fields(schema: &mut Schema, parent: usize, group: &Type) -> Result<(), Fault> {
    group.get_fields().iter().try_for_each(|field| self::field(schema, parent, field))
}

fn field(schema: &mut Schema, parent: usize, field: &Type) -> Result<(), Fault> {
    let info = field.get_basic_info();
    let is_repeated = info.has_repetition() && info.repetition() == Repetition::REPEATED;
    if is_repeated {
        // Repeated without a list around it: a list of its own.
        let list = schema.add_key(parent, field.name(), false)?;
        return element(schema, list, field);
    }
    if field.is_primitive() {
        return schema.add_key(parent, field.name(), true).map(|_| ());
    }
    let id = schema.add_key(parent, field.name(), false)?;
    match (group(field), field.get_fields()) {
        (Group::List, [repeated]) if is_element(repeated, field.name()) => element(schema, id, repeated),
        (Group::List, [repeated]) => match repeated.get_fields() {
            [inner] => element_field(schema, id, inner),
            _ => element(schema, id, repeated),
        },
        (Group::Map, [entries]) if entries.is_group() => element(schema, id, entries),
        _ => fields(schema, id, field),
    }
}

/// What a list holds, given by the repeated node itself.
fn element(schema: &mut Schema, list: usize, repeated: &Type) -> Result<(), Fault> {
    let id = schema.add_element(list, repeated.is_primitive())?;
    if repeated.is_primitive() { Ok(()) } else { fields(schema, id, repeated) }
}

/// What a list holds, given by the node within the repeated one; it may be a list or map again.
fn element_field(schema: &mut Schema, list: usize, inner: &Type) -> Result<(), Fault> {
    if inner.is_primitive() {
        return schema.add_element(list, true).map(|_| ());
    }
    let id = schema.add_element(list, false)?;
    match (group(inner), inner.get_fields()) {
        (Group::List, [repeated]) if is_element(repeated, inner.name()) => element(schema, id, repeated),
        (Group::List, [repeated]) => match repeated.get_fields() {
            [innermost] => element_field(schema, id, innermost),
            _ => element(schema, id, repeated),
        },
        (Group::Map, [entries]) if entries.is_group() => element(schema, id, entries),
        _ => fields(schema, id, inner),
    }
}

/// The format's rules for lists of older writers: whether the repeated node is the element itself.
fn is_element(repeated: &Type, list: &str) -> bool {
    repeated.is_primitive()
        || repeated.get_fields().len() != 1
        || repeated.name() == "array"
        || repeated.name().strip_suffix("_tuple") == Some(list)
}

/// For each column whether it is, or is part of, the key of a map.
pub(super) fn map_keys(root: &Type) -> Vec<bool> {
    fn walk(node: &Type, is_key: bool, keys: &mut Vec<bool>) {
        if node.is_primitive() {
            keys.push(is_key);
            return;
        }
        let is_map = group(node) == Group::Map;
        for child in node.get_fields() {
            match (is_map, child.is_group()) {
                (true, true) => {
                    for (index, entry) in child.get_fields().iter().enumerate() {
                        walk(entry, is_key || index == 0, keys);
                    }
                }
                _ => walk(child, is_key, keys),
            }
        }
    }
    let mut keys = Vec::new();
    walk(root, false, &mut keys);
    keys
}

/// The schema of an output.
pub(super) fn output(root: &TypePtr, leaves: &[Leaf], targets: &[Option<Target>]) -> Result<TypePtr, Fault> {
    let root = rebuilt(root, false, leaves, targets, &mut 0)?;
    root.ok_or_else(|| of_file("no_column_left", "no column is left", "Keep or mask at least one column."))
}

/// What is left of a node; `next` counts the columns, `is_entries` tells that it holds a map's keys and values.
fn rebuilt(
    node: &TypePtr,
    is_entries: bool,
    leaves: &[Leaf],
    targets: &[Option<Target>],
    next: &mut usize,
) -> Result<Option<TypePtr>, Fault> {
    if node.is_primitive() {
        let index = *next;
        *next += 1;
        return match (&leaves[index].fate, targets[index]) {
            (Fate::Drop, _) => Ok(None),
            (Fate::Mask(_), Some(target)) => Ok(Some(Arc::new(column(node, target).map_err(malformed)?))),
            _ => Ok(Some(node.clone())),
        };
    }
    let mut fields = Vec::with_capacity(node.get_fields().len());
    let is_map = group(node) == Group::Map;
    for field in node.get_fields() {
        fields.extend(rebuilt(field, is_map && field.is_group(), leaves, targets, next)?);
    }
    let info = node.get_basic_info();
    if fields.is_empty() && info.has_repetition() {
        return Ok(None);
    }
    if is_entries && fields.len() < node.get_fields().len() {
        return Err(half_a_map());
    }
    let mut builder = Type::group_type_builder(node.name())
        .with_logical_type(info.logical_type_ref().cloned())
        .with_converted_type(info.converted_type())
        .with_fields(fields)
        .with_id(info.has_id().then(|| info.id()));
    if info.has_repetition() {
        builder = builder.with_repetition(info.repetition());
    }
    Ok(Some(Arc::new(builder.build().map_err(malformed)?)))
}

fn column(node: &Type, target: Target) -> Result<Type, ParquetError> {
    let info = node.get_basic_info();
    let repetition = if target.becomes_optional { Repetition::OPTIONAL } else { info.repetition() };
    let physical = if target.is_text { Physical::BYTE_ARRAY } else { node.get_physical_type() };
    let builder = Type::primitive_type_builder(node.name(), physical)
        .with_repetition(repetition)
        .with_id(info.has_id().then(|| info.id()));
    if target.is_text {
        return builder.with_logical_type(Some(LogicalType::String)).build();
    }
    let length = match node {
        Type::PrimitiveType { type_length, .. } => *type_length,
        Type::GroupType { .. } => -1,
    };
    builder
        .with_logical_type(info.logical_type_ref().cloned())
        .with_converted_type(info.converted_type())
        .with_length(length)
        .with_precision(node.get_precision())
        .with_scale(node.get_scale())
        .build()
}

/// A column's type as a person says it.
pub(super) fn name(node: &Type) -> &'static str {
    match (Kind::of(node), node.get_physical_type()) {
        (Kind::Bool, _) => "boolean",
        (Kind::Int | Kind::Unsigned, _) => "integer",
        (Kind::Float, _) => "float",
        (Kind::Date, _) => "date",
        (Kind::Time { .. }, _) => "time",
        (Kind::Timestamp { .. } | Kind::Int96, _) => "timestamp",
        (Kind::Decimal { .. }, _) => "decimal",
        (Kind::Text, _) => "text",
        (Kind::SpecialText, _) => "text of a special type",
        (Kind::Uuid, _) => "UUID",
        (Kind::Bytes | Kind::Hex, _) => "binary",
    }
}
