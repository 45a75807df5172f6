//! Which classes hold what is asked for: classes are rows that look alike in all quasi-identifiers.

use super::combinations::Combinations;
use super::model::{Anonymity, Distance, Diversity, Sensitive};

/// Beyond the rounding of sums of fractions.
const TOLERANCE: f64 = 1e-9;

/// What is asked for, and of which rows.
pub(super) struct Demands {
    pub k: u64,
    /// Most rows that may be left out.
    pub most_suppressed: u64,
    pub sensitive: Vec<Demand>,
    /// Number of quasi-identifiers; the sensitive columns stand behind them.
    pub quasi_identifiers: usize,
}

pub(super) struct Demand {
    pub asked: Sensitive,
    /// For each code its place among all, in order.
    pub rank: Vec<u32>,
}

/// Classes of combinations, and the combinations in each.
pub(super) struct Classes {
    pub sizes: Vec<u64>,
    /// For each combination its class.
    pub class_of: Vec<u32>,
    /// Combinations, class by class, and where each class begins; made only where something is asked of their inside.
    members: Vec<u32>,
    starts: Vec<usize>,
}

/// Which classes stay.
pub(super) struct Judged {
    pub kept: Vec<bool>,
    /// Rows in the classes that go.
    pub suppressed: u64,
    /// Rows in classes that are too small or have too few values: at a coarser level they are no more.
    pub suppressed_at_least: u64,
}

/// How far a sensitive column is from what could be asked of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Achieved {
    /// Fewest different values of a class.
    pub distinct: u64,
    /// Least exponential of a class' entropy.
    pub entropy: f64,
    /// Greatest distance of a class from all.
    pub distance: f64,
}

impl Demands {
    pub(super) fn new(asked: &Anonymity, ranks: Vec<Vec<u32>>, rows: u64) -> Demands {
        // As many as come nearest to the share from below: 0.29 of 100 rows are 29.
        let near = (asked.max_suppressed * rows as f64).ceil() as u64;
        let most = if near as f64 / rows.max(1) as f64 > asked.max_suppressed { near.saturating_sub(1) } else { near };
        let demand = |(asked, rank): (&Sensitive, Vec<u32>)| Demand { asked: asked.clone(), rank };
        Demands {
            k: asked.k,
            most_suppressed: most.min(rows),
            sensitive: asked.sensitive.iter().zip(ranks).map(demand).collect(),
            quasi_identifiers: asked.quasi_identifiers.len(),
        }
    }

    /// Whether a class that fails can hold it once it is joined with another, and one that holds it can fail then.
    pub(super) fn are_monotonic(&self) -> bool {
        let is_plain = |demand: &Demand| {
            let asked = &demand.asked;
            asked.t.is_none() && (asked.l.is_none() || asked.diversity == Diversity::Distinct)
        };
        self.sensitive.iter().all(is_plain)
    }

    fn look_inside(&self) -> bool {
        self.sensitive.iter().any(|demand| demand.asked.l.is_some() || demand.asked.t.is_some())
    }
}

impl Classes {
    pub(super) fn new(table: &Combinations, demands: &Demands) -> Classes {
        let (class_of, count) = table.classes(demands.quasi_identifiers);
        let mut sizes = vec![0; count];
        for (class, rows) in class_of.iter().zip(&table.counts) {
            sizes[*class as usize] += rows;
        }
        Classes { sizes, class_of, members: Vec::new(), starts: Vec::new() }
    }

    fn sort_members(&mut self) {
        if !self.starts.is_empty() {
            return;
        }
        self.starts = vec![0; self.sizes.len() + 1];
        self.class_of.iter().for_each(|class| self.starts[*class as usize + 1] += 1);
        for class in 1..self.starts.len() {
            self.starts[class] += self.starts[class - 1];
        }
        let mut next = self.starts.clone();
        self.members = vec![0; self.class_of.len()];
        for (member, class) in self.class_of.iter().enumerate() {
            self.members[next[*class as usize]] = member as u32;
            next[*class as usize] += 1;
        }
    }

    fn members(&self, class: usize) -> &[u32] {
        &self.members[self.starts[class]..self.starts[class + 1]]
    }
}

/// Rows of one class by value of a sensitive column; made anew for each class, without touching all values.
struct Histogram {
    rows: Vec<u64>,
    /// Ranks of the values that are there.
    present: Vec<u32>,
}

impl Histogram {
    fn new(values: usize) -> Histogram {
        Histogram { rows: vec![0; values], present: Vec::new() }
    }

    fn fill(&mut self, table: &Combinations, members: &[u32], column: usize, rank: &[u32]) {
        self.present.drain(..).for_each(|value| self.rows[value as usize] = 0);
        for member in members {
            let value = rank[table.of(*member as usize)[column] as usize];
            if self.rows[value as usize] == 0 {
                self.present.push(value);
            }
            self.rows[value as usize] += table.counts[*member as usize];
        }
        self.present.sort_unstable();
    }

    fn distinct(&self) -> u64 {
        self.present.len() as u64
    }

    fn entropy(&self) -> f64 {
        let all: u64 = self.present.iter().map(|value| self.rows[*value as usize]).sum();
        let part = |value: &u32| self.rows[*value as usize] as f64 / all as f64;
        -self.present.iter().map(part).map(|part| part * part.ln()).sum::<f64>()
    }
}

/// The distribution of a sensitive column over the rows that stay.
struct Overall {
    /// By rank; values that are nowhere are left out of it.
    parts: Vec<f64>,
    /// Place of each rank among the values that are there.
    place: Vec<u32>,
    /// Sums of the parts up to each place, and the sums of these.
    sums: Vec<f64>,
    sums_of_sums: Vec<f64>,
}

impl Overall {
    fn new(table: &Combinations, classes: &Classes, kept: &[bool], column: usize, rank: &[u32]) -> Overall {
        let mut rows = vec![0_u64; rank.len()];
        let stays = |(_, class): &(usize, &u32)| kept[**class as usize];
        for (index, _) in classes.class_of.iter().enumerate().filter(stays) {
            rows[rank[table.of(index)[column] as usize] as usize] += table.counts[index];
        }
        let all: u64 = rows.iter().sum();
        let (mut parts, mut place) = (Vec::new(), vec![0; rank.len()]);
        for (value, rows) in rows.iter().enumerate().filter(|(_, rows)| **rows > 0) {
            place[value] = parts.len() as u32;
            parts.push(*rows as f64 / all as f64);
        }
        let running = |values: &[f64]| -> Vec<f64> {
            let sum = |sum: &mut f64, value: &f64| {
                *sum += value;
                Some(*sum)
            };
            values.iter().scan(0.0, sum).collect()
        };
        let sums = running(&parts);
        let sums_of_sums = running(&sums);
        Overall { parts, place, sums, sums_of_sums }
    }

    fn distance(&self, class: &Histogram, distance: Distance) -> f64 {
        let all: u64 = class.present.iter().map(|value| class.rows[*value as usize]).sum();
        let here = class
            .present
            .iter()
            .map(|value| (self.place[*value as usize] as usize, class.rows[*value as usize] as f64 / all as f64));
        match distance {
            Distance::Equal => self.equal(here),
            Distance::Ordered => self.ordered(here),
        }
    }

    /// Half the sum of all differences (N. Li et al., "t-Closeness", 2007, section 5).
    fn equal(&self, here: impl Iterator<Item = (usize, f64)>) -> f64 {
        let (mut differences, mut elsewhere) = (0.0, 1.0);
        for (place, part) in here {
            differences += (part - self.parts[place]).abs();
            elsewhere -= self.parts[place];
        }
        (differences + elsewhere.max(0.0)) / 2.0
    }

    /// The sum of the differences of the running sums, each place one step from the next (the same, section 5). Between
    /// two values of the class its running sum stays, and that of all passes it once.
    fn ordered(&self, here: impl Iterator<Item = (usize, f64)>) -> f64 {
        let count = self.parts.len();
        if count < 2 {
            return 0.0;
        }
        let (mut distance, mut reached, mut from) = (0.0, 0.0, 0);
        for (place, part) in here {
            distance += self.area(from, place, reached);
            reached += part;
            from = place;
        }
        distance += self.area(from, count, reached);
        distance / (count - 1) as f64
    }

    /// The sum of the differences between a level and the running sums of some places.
    fn area(&self, from: usize, to: usize, level: f64) -> f64 {
        let crossing = from + self.sums[from..to].partition_point(|sum| *sum < level);
        let sum = |from: usize, to: usize| {
            let up_to = |place: usize| if place == 0 { 0.0 } else { self.sums_of_sums[place - 1] };
            up_to(to) - up_to(from)
        };
        let below = level * (crossing - from) as f64 - sum(from, crossing);
        let above = sum(crossing, to) - level * (to - crossing) as f64;
        below.max(0.0) + above.max(0.0)
    }
}

/// Finds the classes that go. Where t is asked for, the rows that stay are compared with each other: whoever goes changes
/// what the others are compared with, until none has to go.
pub(super) fn judge(table: &Combinations, classes: &mut Classes, demands: &Demands) -> Judged {
    let mut kept: Vec<bool> = classes.sizes.iter().map(|size| *size >= demands.k).collect();
    let too_small = suppressed(classes, &kept);
    if too_small > demands.most_suppressed || !demands.look_inside() {
        return Judged { kept, suppressed: too_small, suppressed_at_least: too_small };
    }
    classes.sort_members();
    let classes = &*classes;
    let asks = |diversity: Diversity| {
        let of_kind = move |(_, demand): &(usize, &Demand)| demand.asked.diversity == diversity;
        demands.sensitive.iter().enumerate().filter(of_kind)
    };
    for (place, demand) in asks(Diversity::Distinct) {
        let Some(l) = demand.asked.l else { continue };
        sift(table, classes, &mut kept, (demands, place), |class| class.distinct() as f64 >= l);
    }
    let suppressed_at_least = suppressed(classes, &kept);
    if suppressed_at_least > demands.most_suppressed {
        return Judged { kept, suppressed: suppressed_at_least, suppressed_at_least };
    }
    for (place, demand) in asks(Diversity::Entropy) {
        let Some(l) = demand.asked.l else { continue };
        sift(table, classes, &mut kept, (demands, place), |class| class.entropy() >= l.ln() - TOLERANCE);
    }
    let mut goes_on = demands.sensitive.iter().any(|demand| demand.asked.t.is_some());
    while goes_on && suppressed(classes, &kept) <= demands.most_suppressed {
        goes_on = false;
        for (place, demand) in demands.sensitive.iter().enumerate() {
            let Some(t) = demand.asked.t else { continue };
            let column = demands.quasi_identifiers + place;
            let overall = Overall::new(table, classes, &kept, column, &demand.rank);
            let is_near = |class: &Histogram| overall.distance(class, demand.asked.distance) <= t + TOLERANCE;
            goes_on |= sift(table, classes, &mut kept, (demands, place), is_near);
        }
    }
    Judged { suppressed: suppressed(classes, &kept), kept, suppressed_at_least }
}

/// Lets the classes go of which something does not hold; whether any went.
fn sift(
    table: &Combinations,
    classes: &Classes,
    kept: &mut [bool],
    (demands, place): (&Demands, usize),
    holds: impl Fn(&Histogram) -> bool,
) -> bool {
    let rank = &demands.sensitive[place].rank;
    let mut histogram = Histogram::new(rank.len());
    let mut any = false;
    for (class, kept) in kept.iter_mut().enumerate().filter(|(_, kept)| **kept) {
        histogram.fill(table, classes.members(class), demands.quasi_identifiers + place, rank);
        *kept = holds(&histogram);
        any |= !*kept;
    }
    any
}

fn suppressed(classes: &Classes, kept: &[bool]) -> u64 {
    classes.sizes.iter().zip(kept).filter(|(_, kept)| !**kept).map(|(size, _)| size).sum()
}

/// What holds of the rows that stay, for each sensitive column; `None` where none stay.
pub(super) fn measure(
    table: &Combinations,
    classes: &mut Classes,
    kept: &[bool],
    demands: &Demands,
) -> Vec<Option<Achieved>> {
    classes.sort_members();
    let classes = &*classes;
    let columns = demands.sensitive.iter().enumerate().map(|(place, demand)| {
        let column = demands.quasi_identifiers + place;
        let overall = Overall::new(table, classes, kept, column, &demand.rank);
        let mut histogram = Histogram::new(demand.rank.len());
        let mut achieved: Option<Achieved> = None;
        for class in (0..kept.len()).filter(|class| kept[*class]) {
            histogram.fill(table, classes.members(class), column, &demand.rank);
            let (distinct, entropy) = (histogram.distinct(), histogram.entropy().exp());
            let distance = overall.distance(&histogram, demand.asked.distance);
            let so_far = achieved.get_or_insert(Achieved { distinct, entropy, distance });
            so_far.distinct = so_far.distinct.min(distinct);
            so_far.entropy = so_far.entropy.min(entropy);
            so_far.distance = so_far.distance.max(distance);
        }
        achieved
    });
    columns.collect()
}
