//! Additive noise (ISO/IEC 20889: randomization), Laplace or Gaussian. The one mask that is not deterministic.
//!
//! The noise is rounded to the value's last decimal and added in exact arithmetic: which numbers can come out does not
//! depend on the value, as it does where floating-point noise is added to a floating-point value (Mironov, CCS 2012).

use std::cell::RefCell;

use rand_core::{OsRng, RngCore};
use serde::{Deserialize, Serialize};

use super::MaskParams;
use super::number::Decimal;
use super::params::number;

/// Random bytes fetched at a time.
const FETCHED: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoiseMask {
    pub kind: NoiseKind,
    pub size: Size,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoiseKind {
    Laplace,
    Gaussian,
}

/// How large the noise is; all numbers are above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// Laplace's scale, or the standard deviation.
    Scale(Decimal),
    /// Of the Laplace mechanism: its scale is sensitivity / epsilon.
    Budget { epsilon: Decimal, sensitivity: Decimal },
}

impl NoiseMask {
    pub fn from_params(params: &MaskParams) -> Result<NoiseMask, String> {
        let kind = match params.kind.as_deref() {
            None | Some("laplace") => NoiseKind::Laplace,
            Some("gaussian") => NoiseKind::Gaussian,
            Some(_) => return Err("`kind` must be \"laplace\" or \"gaussian\"".to_owned()),
        };
        let positive = |value: &Option<toml::Value>, name: &str| match number(value.as_ref(), name)? {
            Some(number) if number.digits <= 0 => Err(format!("`{name}` must be greater than 0")),
            number => Ok(number),
        };
        let scale = positive(&params.scale, "scale")?;
        let (epsilon, sensitivity) =
            (positive(&params.epsilon, "epsilon")?, positive(&params.sensitivity, "sensitivity")?);
        let size = match (scale, epsilon, sensitivity) {
            (Some(scale), None, None) => Size::Scale(scale),
            (None, Some(_), Some(_)) if kind == NoiseKind::Gaussian => {
                return Err("`epsilon` and `sensitivity` go with Laplace noise; give Gaussian noise its standard \
                            deviation as `scale`"
                    .to_owned());
            }
            (None, Some(epsilon), Some(sensitivity)) => Size::Budget { epsilon, sensitivity },
            _ => {
                return Err(
                    "mask \"noise\" needs `scale` (as in `scale = 10`), or `epsilon` and `sensitivity` (by how \
                            much one person can change the value)"
                        .to_owned(),
                );
            }
        };
        Ok(NoiseMask { kind, size })
    }

    pub fn source(&self) -> Source {
        let (scale, decimals) = match &self.size {
            Size::Scale(scale) => (scale.to_f64(), scale.scale),
            Size::Budget { epsilon, sensitivity } => (sensitivity.to_f64() / epsilon.to_f64(), sensitivity.scale),
        };
        Source { kind: self.kind, scale, decimals, fetched: RefCell::new(([0; FETCHED], FETCHED)) }
    }
}

/// Noise for one column's worth of cells; not shared between threads.
pub struct Source {
    kind: NoiseKind,
    scale: f64,
    /// Least number of decimals in the output.
    decimals: u32,
    /// Random bytes, and how many of them were used.
    fetched: RefCell<([u8; FETCHED], usize)>,
}

impl Source {
    /// Appends the number with noise, with its own decimals or more; false when the value is no number.
    pub fn mask_into(&self, value: &str, out: &mut String) -> bool {
        let noisy = Decimal::parse(value).and_then(|number| {
            let scale = number.scale.max(self.decimals);
            let steps = self.sample() * 10_f64.powi(i32::try_from(scale).ok()?);
            let digits = number.at_scale(scale)?.checked_add(steps.round() as i128)?;
            Some(Decimal { digits, scale })
        });
        noisy.map(|noisy| noisy.push_to(out)).is_some()
    }

    fn sample(&self) -> f64 {
        match self.kind {
            NoiseKind::Laplace => {
                let bits = self.bits();
                let magnitude = -self.scale * unit(bits).ln();
                if bits & 1 == 0 { magnitude } else { -magnitude }
            }
            // Box and Muller, one of the two.
            NoiseKind::Gaussian => {
                let (radius, angle) = (unit(self.bits()), unit(self.bits()));
                self.scale * (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
            }
        }
    }

    fn bits(&self) -> u64 {
        let (bytes, used) = &mut *self.fetched.borrow_mut();
        if *used == FETCHED {
            OsRng.fill_bytes(bytes);
            *used = 0;
        }
        let next = bytes[*used..*used + 8].try_into().expect("the size is a multiple of 8");
        bytes[*used..*used + 8].fill(0);
        *used += 8;
        u64::from_le_bytes(next)
    }
}

/// Strictly between 0 and 1, of the upper 53 bits.
fn unit(bits: u64) -> f64 {
    ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(names: &[(&str, toml::Value)]) -> MaskParams {
        let mut params = MaskParams::default();
        for (name, value) in names {
            match *name {
                "kind" => params.kind = value.as_str().map(str::to_owned),
                "scale" => params.scale = Some(value.clone()),
                "epsilon" => params.epsilon = Some(value.clone()),
                _ => params.sensitivity = Some(value.clone()),
            }
        }
        params
    }

    fn samples(names: &[(&str, toml::Value)], value: &str) -> Vec<f64> {
        let source = NoiseMask::from_params(&params(names)).unwrap().source();
        let mut samples = Vec::new();
        for _ in 0..100_000 {
            let mut out = String::new();
            assert!(source.mask_into(value, &mut out));
            samples.push(out.parse::<f64>().unwrap() - value.parse::<f64>().unwrap());
        }
        samples
    }

    /// Share of the samples at or below each border against a distribution function; Kolmogorov and Smirnov's distance
    /// of 100,000 samples passes 0.008 once in 700,000 runs, half a rounding step comes to it.
    fn check(samples: &[f64], cumulated: impl Fn(f64) -> f64) {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let distance = sorted
            .iter()
            .enumerate()
            .step_by(97)
            .map(|(index, sample)| ((index as f64 + 0.5) / sorted.len() as f64 - cumulated(*sample)).abs());
        let distance = distance.fold(0.0, f64::max);
        assert!(distance < 0.01, "{distance}");
    }

    #[test]
    fn noise_is_distributed_as_it_says() {
        let laplace =
            |scale: f64| move |x: f64| if x < 0.0 { (x / scale).exp() / 2.0 } else { 1.0 - (-x / scale).exp() / 2.0 };
        check(&samples(&[("scale", 10.into())], "1000.000"), laplace(10.0));
        check(&samples(&[("epsilon", 0.5.into()), ("sensitivity", 10.into())], "-3.000"), laplace(20.0));
        let normal = samples(&[("kind", "gaussian".into()), ("scale", 5.into())], "0.000");
        let deviation = (normal.iter().map(|sample| sample * sample).sum::<f64>() / normal.len() as f64).sqrt();
        let mean = normal.iter().sum::<f64>() / normal.len() as f64;
        assert!((deviation - 5.0).abs() < 0.1 && mean.abs() < 0.1, "{mean} {deviation}");
        let within = |limit: f64| normal.iter().filter(|sample| sample.abs() < limit).count() as f64 / 100_000.0;
        for (limit, share) in [(5.0, 0.6827), (10.0, 0.9545), (15.0, 0.9973)] {
            assert!((within(limit) - share).abs() < 0.01);
        }
    }

    #[test]
    fn decimals_are_those_of_the_value_or_of_the_noise() {
        let source = NoiseMask::from_params(&params(&[("scale", 0.25.into())])).unwrap().source();
        let decimals = |value: &str| {
            let mut out = String::new();
            source.mask_into(value, &mut out).then(|| out.split_once('.').map_or(0, |(_, decimals)| decimals.len()))
        };
        assert_eq!(
            [decimals("7"), decimals("7.1234"), decimals("seven"), decimals("1e3")],
            [Some(2), Some(4), None, None]
        );
        assert_eq!(decimals(&"9".repeat(37)), None);
    }

    #[test]
    fn sizes_that_say_too_little_or_too_much_are_refused() {
        let refusal = |names: &[(&str, toml::Value)]| NoiseMask::from_params(&params(names)).unwrap_err();
        assert!(refusal(&[]).contains("needs `scale`"));
        assert!(refusal(&[("scale", 0.into())]).contains("greater than 0"));
        assert!(refusal(&[("scale", 1.into()), ("epsilon", 1.into())]).contains("needs `scale`"));
        assert!(refusal(&[("epsilon", 1.into())]).contains("`sensitivity`"));
        assert!(refusal(&[("kind", "uniform".into())]).contains("\"gaussian\""));
        let gaussian = [("kind", "gaussian".into()), ("epsilon", 1.into()), ("sensitivity", 1.into())];
        assert!(refusal(&gaussian).contains("standard deviation"));
    }
}
