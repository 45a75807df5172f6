//! All combinations of levels, and what is known of each.

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    Unknown,
    /// Too much is asked for here, and at all nodes below.
    Fails,
    /// Nothing better is to be found here, nor at any node above.
    Closed,
    /// Looked at.
    Seen,
}

pub(super) struct Lattice {
    /// Levels of each column.
    heights: Vec<usize>,
    tags: Vec<Tag>,
}

impl Lattice {
    /// `heights` has the number of levels of each column, at least 1.
    pub(super) fn new(heights: Vec<usize>) -> Lattice {
        let nodes = heights.iter().product();
        Lattice { heights, tags: vec![Tag::Unknown; nodes] }
    }

    pub(super) fn nodes(&self) -> usize {
        self.tags.len()
    }

    pub(super) fn levels(&self, mut node: usize) -> Vec<usize> {
        let level = |height: &usize| {
            let level = node % height;
            node /= height;
            level
        };
        self.heights.iter().map(level).collect()
    }

    pub(super) fn is_open(&self, node: usize) -> bool {
        self.tags[node] == Tag::Unknown
    }

    pub(super) fn fails(&self, node: usize) -> bool {
        self.tags[node] == Tag::Fails
    }

    pub(super) fn see(&mut self, node: usize) {
        self.tags[node] = Tag::Seen;
    }

    /// Nodes one level above.
    pub(super) fn above(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        self.neighbours(node).filter_map(move |(level, height, step)| (level + 1 < height).then_some(node + step))
    }

    fn below(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        self.neighbours(node).filter(|(level, _, _)| *level > 0).map(move |(_, _, step)| node - step)
    }

    /// For each column its level, its number of levels, and the way from one to the next.
    fn neighbours(&self, node: usize) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let (mut rest, mut step) = (node, 1);
        self.heights.iter().map(move |height| {
            let found = (rest % height, *height, step);
            rest /= height;
            step *= height;
            found
        })
    }

    /// Notes that a node fails, and with it all below.
    pub(super) fn fail(&mut self, node: usize) {
        self.spread(node, Tag::Fails, |lattice, node| lattice.below(node).collect());
    }

    /// Notes that nothing better is to be found at a node, nor above.
    pub(super) fn close(&mut self, node: usize) {
        self.spread(node, Tag::Closed, |lattice, node| lattice.above(node).collect());
    }

    fn spread(&mut self, node: usize, tag: Tag, next: impl Fn(&Lattice, usize) -> Vec<usize>) {
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            if self.tags[node] != tag {
                self.tags[node] = tag;
                open.extend(next(self, node));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(lattice: &Lattice, levels: &[usize]) -> usize {
        levels.iter().zip(&lattice.heights).rev().fold(0, |node, (level, height)| node * height + level)
    }

    #[test]
    fn what_is_known_of_a_node_spreads_to_the_right_ones() {
        let mut lattice = Lattice::new(vec![3, 1, 2]);
        assert_eq!(lattice.nodes(), 6);
        for at in 0..6 {
            assert_eq!(node(&lattice, &lattice.levels(at)), at);
        }
        let at = |lattice: &Lattice, first, last| node(lattice, &[first, 0, last]);
        let middle = at(&lattice, 1, 0);
        assert_eq!(lattice.above(middle).collect::<Vec<_>>(), [at(&lattice, 2, 0), at(&lattice, 1, 1)]);
        lattice.fail(middle);
        assert!(lattice.fails(at(&lattice, 0, 0)) && lattice.is_open(at(&lattice, 0, 1)));
        lattice.close(at(&lattice, 1, 1));
        assert!(!lattice.is_open(at(&lattice, 2, 1)) && lattice.is_open(at(&lattice, 2, 0)));
    }
}
