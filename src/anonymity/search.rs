//! The search for the levels of least loss.
//!
//! Chains of nodes, from fine to coarse, are cut in halves to find where what must hold begins to. A node at which it does
//! not rules out all below, one at which it does, and at which the loss can only grow, all above. What coarser nodes cannot
//! cost less than rules out more. Every node is looked at or ruled out, so what is found is the optimum.

use std::cmp::Ordering;
use std::collections::VecDeque;

use super::combinations::Combinations;
use super::criteria::{Classes, Demands, Judged, judge};
use super::ladder::Ladder;
use super::lattice::Lattice;
use super::utility::Prices;

/// Group-bys that are kept, to begin others with.
const MOST_SNAPSHOTS: usize = 24;
const MOST_SNAPSHOT_BYTES: usize = 160 << 20;
/// Losses this near to each other, relative to their size, count as the same: sums depend on the order of their terms.
const SAME: f64 = 1e-10;

/// A table with its ladders: what is searched.
pub(super) struct Space {
    pub ladders: Vec<Ladder>,
    /// At the finest levels.
    pub table: Combinations,
}

/// The best node so far.
struct Best {
    levels: Vec<usize>,
    loss: f64,
    suppressed: u64,
}

struct Snapshot {
    levels: Vec<usize>,
    table: Combinations,
}

pub(super) struct Search<'s> {
    space: &'s Space,
    demands: &'s Demands,
    prices: &'s Prices,
    lattice: Lattice,
    snapshots: VecDeque<Snapshot>,
    best: Option<Best>,
    /// Whether a node that holds makes all above it hold and cost no less.
    closes_above: bool,
    /// Shows that there is life.
    progress: &'s dyn Fn(),
}

/// What a node turned out to be.
pub(super) struct Look {
    pub table: Combinations,
    pub classes: Classes,
    pub judged: Judged,
}

impl Space {
    /// The group-by of a node, from that of another below it.
    pub(super) fn rolled_up(&self, from: &[usize], table: &Combinations, to: &[usize]) -> Combinations {
        let mut steps: Vec<Option<Vec<u32>>> = Vec::with_capacity(table.width);
        for ((from, to), ladder) in from.iter().zip(to).zip(&self.ladders) {
            steps.push(ladder.between(*from, *to));
        }
        steps.resize(table.width, None);
        table.rolled_up(&steps)
    }

    pub(super) fn look(&self, levels: &[usize], demands: &Demands) -> Look {
        let table = self.rolled_up(&vec![0; levels.len()], &self.table, levels);
        let mut classes = Classes::new(&table, demands);
        let judged = judge(&table, &mut classes, demands);
        Look { table, classes, judged }
    }

    pub(super) fn coarsest(&self) -> Vec<usize> {
        self.ladders.iter().map(|ladder| ladder.levels() - 1).collect()
    }
}

impl Demands {
    /// Whether enough rows stay.
    pub(super) fn are_met(&self, suppressed: u64, rows: u64) -> bool {
        suppressed <= self.most_suppressed && (suppressed < rows || rows == 0)
    }
}

impl<'s> Search<'s> {
    pub(super) fn new(
        space: &'s Space,
        demands: &'s Demands,
        prices: &'s Prices,
        progress: &'s dyn Fn(),
    ) -> Search<'s> {
        let lattice = Lattice::new(space.ladders.iter().map(Ladder::levels).collect());
        let closes_above = prices.is_monotonic() && demands.are_monotonic();
        let (snapshots, best) = (VecDeque::new(), None);
        Search { space, demands, prices, lattice, snapshots, best, closes_above, progress }
    }

    /// The levels of least loss, if there are any at which what is asked for holds.
    pub(super) fn run(mut self) -> Option<Vec<usize>> {
        for node in self.in_order() {
            if self.lattice.is_open(node) && !self.rules_out(node) {
                let chain = self.chain(node);
                self.halve(&chain);
            }
        }
        self.best.map(|best| best.levels)
    }

    /// All nodes from fine to coarse, cheap ones first.
    fn in_order(&self) -> Vec<usize> {
        let key = |node: usize| {
            let levels = self.lattice.levels(node);
            (levels.iter().sum::<usize>(), self.prices.floor(&levels))
        };
        let mut nodes: Vec<_> = (0..self.lattice.nodes()).map(|node| (key(node), node)).collect();
        nodes.sort_by(|(a, first), (b, second)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(first.cmp(second)));
        nodes.into_iter().map(|(_, node)| node).collect()
    }

    /// Whether a node, and all above it, cannot be better than the best.
    fn rules_out(&mut self, node: usize) -> bool {
        let floor = self.prices.floor(&self.lattice.levels(node));
        let is_hopeless = self.best.as_ref().is_some_and(|best| compare(floor, best.loss) == Ordering::Greater);
        if is_hopeless {
            self.lattice.close(node);
        }
        is_hopeless
    }

    /// From a node upwards, over open nodes, the cheapest ones.
    fn chain(&self, node: usize) -> Vec<usize> {
        let mut chain = vec![node];
        let mut at = node;
        loop {
            let open = self.lattice.above(at).filter(|next| self.lattice.is_open(*next));
            let price = |node: &usize| self.prices.floor(&self.lattice.levels(*node));
            let Some(next) = open.min_by(|a, b| price(a).total_cmp(&price(b)).then(a.cmp(b))) else { return chain };
            chain.push(next);
            at = next;
        }
    }

    fn halve(&mut self, chain: &[usize]) {
        let (mut low, mut high) = (0, chain.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.visit(chain[middle]) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
    }

    /// Looks at a node; whether what coarser levels cannot lose again holds.
    fn visit(&mut self, node: usize) -> bool {
        if !self.lattice.is_open(node) {
            return !self.lattice.fails(node);
        }
        if self.rules_out(node) {
            return true;
        }
        (self.progress)();
        let levels = self.lattice.levels(node);
        let table = self.rolled_up(&levels);
        let mut classes = Classes::new(&table, self.demands);
        let judged = judge(&table, &mut classes, self.demands);
        let rows = self.space.table.rows();
        let floor = self.prices.floor_of_classes(&levels, &classes);
        if !self.demands.are_met(judged.suppressed_at_least, rows) {
            self.keep(levels, table);
            self.lattice.fail(node);
            return false;
        }
        self.lattice.see(node);
        if self.demands.are_met(judged.suppressed, rows) {
            let loss = self.prices.of(&levels, &table, &classes, &judged);
            self.propose(Best { levels: levels.clone(), loss, suppressed: judged.suppressed });
        }
        let is_hopeless = self.best.as_ref().is_some_and(|best| compare(floor, best.loss) == Ordering::Greater);
        if self.closes_above || is_hopeless {
            self.lattice.close(node);
        }
        self.keep(levels, table);
        true
    }

    /// Of nodes of the same loss the one that leaves out fewer rows, then the one whose first columns are finer.
    fn propose(&mut self, found: Best) {
        let is_better = self.best.as_ref().is_none_or(|best| {
            let by_loss = compare(found.loss, best.loss);
            let order = by_loss.then(found.suppressed.cmp(&best.suppressed)).then(found.levels.cmp(&best.levels));
            order == Ordering::Less
        });
        if is_better {
            self.best = Some(found);
        }
    }

    fn rolled_up(&mut self, levels: &[usize]) -> Combinations {
        let below = |snapshot: &&Snapshot| snapshot.levels.iter().zip(levels).all(|(below, level)| below <= level);
        match self.snapshots.iter().filter(below).min_by_key(|snapshot| snapshot.table.len()) {
            Some(snapshot) => self.space.rolled_up(&snapshot.levels, &snapshot.table, levels),
            None => self.space.rolled_up(&vec![0; levels.len()], &self.space.table, levels),
        }
    }

    /// Keeps a group-by for later ones, where it is smaller than the first.
    fn keep(&mut self, levels: Vec<usize>, table: Combinations) {
        if table.len() * 4 > self.space.table.len() * 3 {
            return;
        }
        self.snapshots.push_back(Snapshot { levels, table });
        let bytes = |snapshots: &VecDeque<Snapshot>| snapshots.iter().map(|it| it.table.bytes()).sum::<usize>();
        while self.snapshots.len() > MOST_SNAPSHOTS || bytes(&self.snapshots) > MOST_SNAPSHOT_BYTES {
            self.snapshots.pop_front();
        }
    }
}

fn compare(a: f64, b: f64) -> Ordering {
    if (a - b).abs() <= SAME * a.abs().max(b.abs()) { Ordering::Equal } else { a.total_cmp(&b) }
}
