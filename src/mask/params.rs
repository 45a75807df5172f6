//! From the configuration's parameters to checked masks.

use super::date::{DateMask, DateTo};
use super::date_shift::DateShiftMask;
use super::fake::FakeMask;
use super::fpe::FpeMask;
use super::generalize::GeneralizeMask;
use super::hash::{Algorithm, Encoding, HashMask};
use super::noise::NoiseMask;
use super::normalize::Normalize;
use super::number::{ClampMask, Decimal, RoundMask};
use super::partial::{PartialMask, Window};
use super::pattern::PatternMask;
use super::scrub::{CLASS, ScrubMask};
use super::token::TokenMask;
use super::truncate::TruncateMask;
use super::{Mask, MaskParams};
use crate::detect::{Class, is_found_in_text};

/// All masks, for suggestions.
pub const MASKS: [&str; 18] = [
    "keep",
    "drop",
    "null",
    "redact",
    "partial",
    "hash",
    "token",
    "fpe",
    "fake",
    "truncate",
    "generalize",
    "pattern",
    "scrub",
    "date",
    "date_shift",
    "round",
    "clamp",
    "noise",
];

/// Text that stands for a suppressed value unless the rule says otherwise.
pub const REDACTED: &str = "[REDACTED]";

pub(super) fn from_params(mask: &str, params: &MaskParams) -> Result<Mask, String> {
    let takes = |names: &[&str]| only(mask, params, names);
    match mask {
        "keep" => takes(&[]).map(|()| Mask::Keep),
        "drop" => takes(&[]).map(|()| Mask::Drop),
        "null" => takes(&[]).map(|()| Mask::Null),
        "redact" => {
            takes(&["text"])?;
            Ok(Mask::Redact { text: params.text.clone().unwrap_or_else(|| REDACTED.to_owned()) })
        }
        "partial" => {
            takes(&["keep_first", "keep_last", "mask_first", "mask_last", "char"])?;
            partial(params)
        }
        "hash" => {
            takes(&["algorithm", "length", "encoding", "namespace", "normalize"])?;
            hash(params)
        }
        "token" => {
            takes(&["namespace", "normalize"])?;
            TokenMask::from_params(params).map(Mask::Token)
        }
        "fpe" => {
            takes(&["kind", "alphabet", "keep_first", "keep_last", "length", "short", "namespace", "normalize"])?;
            FpeMask::from_params(params).map(Mask::Fpe)
        }
        "fake" => {
            takes(&["kind", "locale", "namespace", "normalize"])?;
            FakeMask::from_params(params).map(Mask::Fake)
        }
        "truncate" => {
            takes(&["keep", "kind"])?;
            truncate(params)
        }
        "generalize" => {
            takes(&["width", "edges", "hierarchy", "level"])?;
            generalize(params)
        }
        "pattern" => {
            takes(&["pattern", "replace"])?;
            pattern(params)
        }
        "scrub" => {
            takes(&["classes", "with"])?;
            scrub(params)
        }
        "date" => {
            takes(&["to", "format", "as_of", "width"])?;
            date(params)
        }
        "date_shift" => {
            takes(&["subject", "max_days", "format", "namespace", "normalize"])?;
            DateShiftMask::from_params(params).map(Mask::DateShift)
        }
        "round" => {
            takes(&["to"])?;
            let to = number(params.to.as_ref(), "to")?.ok_or("mask \"round\" needs `to`, for example `to = 10`")?;
            if to.digits <= 0 {
                return Err("`to` must be greater than 0".to_owned());
            }
            Ok(Mask::Round(RoundMask { to }))
        }
        "clamp" => {
            takes(&["min", "max"])?;
            clamp(params)
        }
        "noise" => {
            takes(&["kind", "scale", "epsilon", "sensitivity"])?;
            NoiseMask::from_params(params).map(Mask::Noise)
        }
        _ => Err(unknown(mask)),
    }
}

fn unknown(mask: &str) -> String {
    let nearest = MASKS.iter().max_by(|a, b| strsim::jaro(a, mask).total_cmp(&strsim::jaro(b, mask)));
    format!("unknown mask {mask:?}, did you mean {:?}? The masks are {}", nearest.unwrap_or(&"keep"), MASKS.join(", "))
}

/// Refuses parameters that the mask does not take.
fn only(mask: &str, params: &MaskParams, takes: &[&str]) -> Result<(), String> {
    let given = [
        ("text", params.text.is_some()),
        ("keep_first", params.keep_first.is_some()),
        ("keep_last", params.keep_last.is_some()),
        ("mask_first", params.mask_first.is_some()),
        ("mask_last", params.mask_last.is_some()),
        ("char", params.char.is_some()),
        ("algorithm", params.algorithm.is_some()),
        ("length", params.length.is_some()),
        ("encoding", params.encoding.is_some()),
        ("namespace", params.namespace.is_some()),
        ("normalize", params.normalize.is_some()),
        ("alphabet", params.alphabet.is_some()),
        ("short", params.short.is_some()),
        ("locale", params.locale.is_some()),
        ("keep", params.keep.is_some()),
        ("kind", params.kind.is_some()),
        ("to", params.to.is_some()),
        ("format", params.format.is_some()),
        ("as_of", params.as_of.is_some()),
        ("subject", params.subject.is_some()),
        ("max_days", params.max_days.is_some()),
        ("width", params.width.is_some()),
        ("edges", params.edges.is_some()),
        ("hierarchy", params.hierarchy.is_some()),
        ("level", params.level.is_some()),
        ("pattern", params.pattern.is_some()),
        ("replace", params.replace.is_some()),
        ("classes", params.classes.is_some()),
        ("with", params.with.is_some()),
        ("scale", params.scale.is_some()),
        ("epsilon", params.epsilon.is_some()),
        ("sensitivity", params.sensitivity.is_some()),
        ("min", params.min.is_some()),
        ("max", params.max.is_some()),
    ];
    match given.iter().find(|(name, is_given)| *is_given && !takes.contains(name)) {
        None => Ok(()),
        Some((name, _)) if takes.is_empty() => Err(format!("mask {mask:?} takes no parameters, not `{name}`")),
        Some((name, _)) => Err(format!("mask {mask:?} does not take `{name}`; it takes {}", takes.join(", "))),
    }
}

fn partial(params: &MaskParams) -> Result<Mask, String> {
    let keeps = params.keep_first.is_some() || params.keep_last.is_some();
    let masks = params.mask_first.is_some() || params.mask_last.is_some();
    let window = match (keeps, masks) {
        (true, true) => return Err("give either keep_first and keep_last or mask_first and mask_last".to_owned()),
        (false, true) => {
            let (first, last) = (params.mask_first.unwrap_or(0), params.mask_last.unwrap_or(0));
            if first.saturating_add(last) < 4 {
                return Err("mask_first and mask_last together must hide at least 4 characters".to_owned());
            }
            Window::Mask { first, last }
        }
        _ => Window::Keep { first: params.keep_first.unwrap_or(0), last: params.keep_last.unwrap_or(0) },
    };
    let text = params.char.as_deref().unwrap_or("*");
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) if !character.is_control() => Ok(Mask::Partial(PartialMask { window, character })),
        _ => Err("`char` must be one printable character".to_owned()),
    }
}

fn hash(params: &MaskParams) -> Result<Mask, String> {
    let algorithm = match params.algorithm.as_deref() {
        None | Some("hmac-sha256") => Algorithm::HmacSha256,
        Some("blake3") => Algorithm::Blake3,
        Some(_) => return Err("`algorithm` must be \"hmac-sha256\" or \"blake3\"".to_owned()),
    };
    let encoding = match params.encoding.as_deref() {
        None | Some("hex") => Encoding::Hex,
        Some("base32") => Encoding::Base32,
        Some("base64url") => Encoding::Base64Url,
        Some(_) => return Err("`encoding` must be \"hex\", \"base32\" or \"base64url\"".to_owned()),
    };
    let length = params.length.unwrap_or(128_u32.div_ceil(encoding.bits()));
    let (least, most) = (64_u32.div_ceil(encoding.bits()), 256 / encoding.bits());
    if !(least..=most).contains(&length) {
        return Err(format!("`length` must be {least} to {most} characters (64 to 256 bits) in this encoding"));
    }
    let normalize = Normalize::parse(params.normalize.as_deref())?;
    Ok(Mask::Hash(HashMask { algorithm, encoding, length, namespace: namespace(params)?, normalize }))
}

pub(super) fn namespace(params: &MaskParams) -> Result<Option<String>, String> {
    match params.namespace.as_deref() {
        Some("") => Err("`namespace` must not be empty".to_owned()),
        namespace => Ok(namespace.map(str::to_owned)),
    }
}

fn truncate(params: &MaskParams) -> Result<Mask, String> {
    let kind = params.kind.as_deref().unwrap_or("prefix");
    let keep = |what: &str, default: Option<u32>, most: u32| match params.keep.or(default) {
        Some(keep) if (1..=most).contains(&keep) => Ok(keep),
        _ => Err(format!("truncate's kind {kind:?} needs `keep`, {what}")),
    };
    let mask = match kind {
        "prefix" => {
            TruncateMask::Prefix { keep: keep("the number of characters to keep, at least 1", None, u32::MAX)? }
        }
        "zip3" if params.keep.is_some() => {
            return Err("truncate's kind \"zip3\" always keeps three digits: take `keep` out".to_owned());
        }
        "zip3" => TruncateMask::Zip3,
        "ip" => TruncateMask::Ip {
            keep_bits: keep("the bits of an IPv4 address to keep, 1 to 31; IPv6 keeps twice as many", Some(24), 31)?,
        },
        "geohash" => TruncateMask::Geohash { keep: keep("1 to 8 characters; 5 is about 5 km", Some(5), 8)? },
        _ => return Err("`kind` must be \"prefix\", \"zip3\", \"ip\" or \"geohash\"".to_owned()),
    };
    Ok(Mask::Truncate(mask))
}

fn generalize(params: &MaskParams) -> Result<Mask, String> {
    if params.level.is_some() && params.hierarchy.is_none() {
        return Err("`level` goes with `hierarchy`".to_owned());
    }
    let mask = match (number(params.width.as_ref(), "width")?, &params.edges, &params.hierarchy) {
        (Some(width), None, None) if width.digits > 0 => GeneralizeMask::Width { width },
        (Some(_), None, None) => return Err("`width` must be greater than 0".to_owned()),
        (None, Some(edges), None) => GeneralizeMask::Edges { edges: ascending(edges)? },
        (None, None, Some(hierarchy)) => GeneralizeMask::Hierarchy(hierarchy.level(params.level.unwrap_or(1))?.into()),
        _ => {
            return Err("mask \"generalize\" needs one of `width` (as in `width = 10`), `edges` (as in \
                        `edges = [18, 40, 65]`) and `hierarchy` (a file, with `level`)"
                .to_owned());
        }
    };
    Ok(Mask::Generalize(mask))
}

fn ascending(edges: &[toml::Value]) -> Result<Vec<Decimal>, String> {
    let edges = edges.iter().map(|edge| number(Some(edge), "edges")).collect::<Result<Vec<_>, _>>()?;
    let edges: Vec<Decimal> = edges.into_iter().flatten().collect();
    let ascends = edges.windows(2).all(|pair| pair[0].compare(&pair[1]).is_some_and(|order| order.is_lt()));
    if edges.is_empty() || !ascends {
        return Err("`edges` must be numbers in ascending order, each once, as in `edges = [18, 40, 65]`".to_owned());
    }
    Ok(edges)
}

fn pattern(params: &MaskParams) -> Result<Mask, String> {
    let (Some(pattern), Some(replace)) = (&params.pattern, &params.replace) else {
        return Err("mask \"pattern\" needs `pattern`, a regular expression, and `replace`, the text in its place; \
                    write them in single quotes"
            .to_owned());
    };
    let mask = PatternMask { pattern: pattern.clone(), replace: replace.clone() };
    mask.compile().map(|_| Mask::Pattern(mask))
}

fn scrub(params: &MaskParams) -> Result<Mask, String> {
    let mut classes = Vec::new();
    for name in params.classes.iter().flatten() {
        let class = Class::of_name(name).ok_or_else(|| {
            format!("there is no class {name:?} of personal data, did you mean {:?}?", Class::nearest(name).name())
        })?;
        if !is_found_in_text(class) {
            return Err(format!("{name:?} cannot be told in free text, only by its column: use \"redact\" there"));
        }
        classes.push(class);
    }
    if params.classes.is_some() && classes.is_empty() {
        return Err("`classes` is empty: leave it out to look for all".to_owned());
    }
    let with = params.with.clone().unwrap_or_else(|| format!("[{CLASS}]"));
    Ok(Mask::Scrub(ScrubMask { classes, with }))
}

fn date(params: &MaskParams) -> Result<Mask, String> {
    let choices = "`to` must be \"year\", \"quarter\", \"month\", \"week\", \"decade\" or \"age_band\"";
    let to = params.to.as_ref().and_then(toml::Value::as_str).ok_or(choices)?;
    if to != "age_band" && (params.as_of.is_some() || params.width.is_some()) {
        return Err("`as_of` and `width` go with `to = \"age_band\"`".to_owned());
    }
    let to = match to {
        "year" => DateTo::Year,
        "quarter" => DateTo::Quarter,
        "month" => DateTo::Month,
        "week" => DateTo::Week,
        "decade" => DateTo::Decade,
        "age_band" => {
            let as_of = params.as_of.as_deref().and_then(|text| text.parse().ok());
            let as_of = as_of.ok_or("an age band needs `as_of = \"YYYY-MM-DD\"`, so that it is the same every day")?;
            let width = params.width.as_ref().map_or(Some(10), toml::Value::as_integer);
            let width = width.and_then(|width| u32::try_from(width).ok()).filter(|width| (1..=50).contains(width));
            DateTo::AgeBand { as_of, width: width.ok_or("`width` must be 1 to 50 years")? }
        }
        _ => return Err(choices.to_owned()),
    };
    if let Some(format) = &params.format {
        let day = jiff::civil::date(2001, 12, 31);
        let there = jiff::fmt::strtime::format(format, day);
        let back = there.ok().and_then(|text| jiff::civil::Date::strptime(format, text).ok());
        if back != Some(day) {
            return Err("`format` must spell year, month and day, for example \"%d.%m.%Y\"".to_owned());
        }
    }
    Ok(Mask::Date(DateMask { to, format: params.format.clone() }))
}

fn clamp(params: &MaskParams) -> Result<Mask, String> {
    let (min, max) = (number(params.min.as_ref(), "min")?, number(params.max.as_ref(), "max")?);
    match (&min, &max) {
        (None, None) => return Err("mask \"clamp\" needs `min`, `max` or both".to_owned()),
        (Some(low), Some(high)) if low.compare(high).is_none_or(|order| order.is_gt()) => {
            return Err("`min` must not be greater than `max`".to_owned());
        }
        _ => {}
    }
    Ok(Mask::Clamp(ClampMask { min, max }))
}

pub(super) fn number(value: Option<&toml::Value>, name: &str) -> Result<Option<Decimal>, String> {
    let text = match value {
        None => return Ok(None),
        Some(toml::Value::Integer(number)) => number.to_string(),
        Some(toml::Value::Float(number)) => number.to_string(),
        Some(toml::Value::String(text)) => text.clone(),
        Some(_) => return Err(format!("`{name}` must be a number")),
    };
    Decimal::parse(&text).map(Some).ok_or_else(|| format!("`{name}` must be a plain decimal number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(mask: &str, params: MaskParams) -> String {
        from_params(mask, &params).unwrap_err()
    }

    #[test]
    fn what_is_unsafe_or_unknown_is_refused_with_a_remedy() {
        let none = MaskParams::default;
        assert!(refusal("partail", none()).contains("did you mean \"partial\"?"));
        assert!(refusal("redact", MaskParams { keep: Some(1), ..none() }).contains("it takes text"));
        assert!(refusal("hash", MaskParams { length: Some(15), ..none() }).contains("16 to 64"));
        assert!(refusal("partial", MaskParams { mask_last: Some(3), ..none() }).contains("at least 4"));
        assert!(refusal("truncate", none()).contains("needs `keep`"));
        let kind = |kind: &str, keep| MaskParams { kind: Some(kind.to_owned()), keep, ..none() };
        assert!(refusal("truncate", kind("zip3", Some(3))).contains("take `keep` out"));
        assert!(refusal("truncate", kind("ip", Some(32))).contains("1 to 31"));
        assert!(refusal("truncate", kind("geohash", Some(9))).contains("1 to 8"));
        assert!(refusal("truncate", kind("zip", None)).contains("\"zip3\""));
        assert!(refusal("generalize", none()).contains("one of `width`"));
        assert!(refusal("generalize", MaskParams { level: Some(1), ..none() }).contains("goes with `hierarchy`"));
        let edges = |edges: &[i64]| MaskParams { edges: Some(edges.iter().map(|it| (*it).into()).collect()), ..none() };
        assert!(refusal("generalize", edges(&[])).contains("ascending"));
        assert!(refusal("generalize", edges(&[1, 1])).contains("ascending"));
        assert!(refusal("generalize", MaskParams { width: Some(0.into()), ..none() }).contains("greater than 0"));
        assert!(refusal("generalize", MaskParams { width: Some(1.into()), ..edges(&[1]) }).contains("one of"));
        let classes = |class: &str| MaskParams { classes: Some(vec![class.to_owned()]), ..none() };
        assert!(refusal("scrub", classes("e-mail")).contains("did you mean \"email\"?"));
        assert!(refusal("scrub", classes("passport")).contains("only by its column"));
        assert!(refusal("pattern", MaskParams { pattern: Some("a".to_owned()), ..none() }).contains("`replace`"));
        let to = Some(toml::Value::from("year"));
        assert!(
            refusal("date", MaskParams { to: to.clone(), format: Some("%Y".to_owned()), ..none() }).contains("spell")
        );
        let german = MaskParams { to, format: Some("%d.%m.%Y".to_owned()), ..none() };
        assert!(from_params("date", &german).is_ok());
    }
}
