//! Payment cards: the issuers' ranges of today, 13 to 19 digits, Luhn.

use super::checksum::{luhn, number};
use super::class::Class;
use super::national::Identifier;

pub(super) const CARD: Identifier = Identifier {
    class: Class::PaymentCard,
    forms: &[
        "################",
        "#############",
        "##############",
        "###############",
        "#################",
        "##################",
        "###################",
        "#### #### #### ####",
        "####-####-####-####",
        "####.####.####.####",
        "#### ###### #####",
        "####-######-#####",
        "#### ###### ####",
        "####-######-####",
        "#### #### #### ####-###",
        "#### #### #### #### ###",
        "####-####-####-####-###",
        "###### ##########",
    ],
    one_in: 38,
    valid: card,
};

/// First digits from, to, and the lengths issued. UnionPay, RuPay, Discover and Maestro overlap.
const RANGES: &[(u64, u64, &[usize])] = &[
    (1, 1, &[15]),                               // UATP
    (2200, 2204, &[16, 17, 18, 19]),             // Mir
    (2221, 2720, &[16]),                         // Mastercard
    (300, 305, &[14, 16]),                       // Diners Club
    (3095, 3095, &[14, 16]),                     // Diners Club
    (34, 34, &[15]),                             // American Express
    (3528, 3589, &[16, 17, 18, 19]),             // JCB
    (36, 36, &[14, 15, 16, 17, 18, 19]),         // Diners Club
    (37, 37, &[15]),                             // American Express
    (38, 39, &[14, 16]),                         // Diners Club
    (4, 4, &[13, 16, 19]),                       // Visa
    (5018, 5020, &[13, 14, 15, 16, 17, 18, 19]), // Maestro, Dankort
    (5038, 5038, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (504175, 504175, &[16]),                     // Elo
    (506099, 506198, &[16, 18, 19]),             // Verve
    (506699, 506778, &[16]),                     // Elo
    (507865, 507964, &[16, 18, 19]),             // Verve
    (508, 508, &[16]),                           // RuPay
    (509000, 509999, &[16]),                     // Elo
    (51, 55, &[16]),                             // Mastercard
    (5610, 5610, &[16]),                         // Bankcard's successors
    (5893, 5893, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (60, 60, &[16, 17, 18, 19]),                 // RuPay, Discover, Hipercard
    (62, 62, &[16, 17, 18, 19]),                 // UnionPay
    (6304, 6304, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (636, 639, &[16, 17, 18, 19]),               // InterPayment, InstaPayment, Elo, Maestro
    (644, 659, &[16, 17, 18, 19]),               // Discover, RuPay, Elo, Troy
    (6759, 6763, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (81, 82, &[16, 17, 18, 19]),                 // UnionPay, RuPay
    (8600, 8600, &[16]),                         // Uzcard
    (9704, 9704, &[16, 19]),                     // Napas
    (9792, 9792, &[16]),                         // Troy
    (9860, 9860, &[16]),                         // Humo
];

fn card(id: &[u8]) -> bool {
    let first = |digits: usize| number(&id[..digits]).unwrap_or(0);
    let issued = |&(from, to, lengths): &(u64, u64, &[usize])| {
        let digits = from.ilog10() as usize + 1;
        lengths.contains(&id.len()) && (from..=to).contains(&first(digits))
    };
    (13..=19).contains(&id.len()) && RANGES.iter().any(issued) && luhn(id)
}
