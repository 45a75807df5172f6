//! What a column's name says, in English, Spanish, French, German and Portuguese.

use super::class::Class;
use super::fold;

/// What a name says of a class, in log-odds.
const SAYS_SO: f32 = 5.0;
/// Words that name something else: an order, a time, a checksum.
const SAYS_OTHER: f32 = -2.5;

/// Classes and the phrases that name them, folded; words of a phrase stand next to each other.
#[rustfmt::skip]
const PHRASES: &[(&[Class], &[&str])] = &[
    (&[Class::Email], &["email", "e mail", "mail", "correo", "correo electronico", "courriel", "adresse mail", "mailadresse", "emailadresse", "correio eletronico", "endereco eletronico"]),
    (&[Class::Phone], &["phone", "tel", "telephone", "mobile", "cell", "cellphone", "fax", "msisdn", "phone number", "contact number", "telefono", "movil", "celular", "portable", "numero de telephone", "gsm", "telefon", "telefonnummer", "handy", "handynummer", "mobil", "mobilnummer", "rufnummer", "rufnr", "telefone", "telemovel", "telemovil"]),
    (&[Class::PaymentCard], &["card", "card number", "credit card", "debit card", "cc", "ccn", "pan", "card no", "payment card", "tarjeta", "numero de tarjeta", "carte", "carte bancaire", "carte bleue", "numero de carte", "kreditkarte", "kartennummer", "kreditkartennummer", "cartao", "numero do cartao", "cartao de credito"]),
    (&[Class::Iban], &["iban", "bank account", "account number", "cuenta bancaria", "numero de cuenta", "compte bancaire", "rib", "bankverbindung", "kontonummer", "kontonr", "conta bancaria"]),
    (&[Class::UsSsn, Class::UsItin], &["ssn", "social security", "social security number", "social", "soc sec", "sozialversicherungsnummer usa"]),
    (&[Class::UsItin], &["itin", "taxpayer id"]),
    (&[Class::UsEin], &["ein", "fein", "employer id", "employer identification number", "tax id"]),
    (&[Class::CaSin], &["sin", "social insurance", "social insurance number", "nas", "numero d assurance sociale"]),
    (&[Class::MxCurp], &["curp"]),
    (&[Class::BrCpf], &["cpf"]),
    (&[Class::BrCnpj], &["cnpj"]),
    (&[Class::ArCuit], &["cuit", "cuil"]),
    (&[Class::ClRut], &["rut", "run"]),
    (&[Class::CoNit], &["nit"]),
    (&[Class::EcCedula, Class::DoCedula], &["cedula", "cedula de identidad"]),
    (&[Class::VeRif], &["rif"]),
    (&[Class::GbNhs], &["nhs", "nhs number", "nhs no"]),
    (&[Class::GbNino], &["nino", "ni number", "national insurance", "national insurance number"]),
    (&[Class::IePps], &["pps", "ppsn", "pps number"]),
    (&[Class::FrNir], &["nir", "insee", "securite sociale", "numero de securite sociale", "num secu", "no secu"]),
    (&[Class::FrSpi], &["spi", "numero fiscal", "nif"]),
    (&[Class::DeSteuerId], &["steuer id", "steuerid", "steueridentifikationsnummer", "steuernummer", "steuer idnr", "idnr", "tin"]),
    (&[Class::AtSvnr], &["svnr", "sv nummer", "sozialversicherungsnummer", "versicherungsnummer"]),
    (&[Class::ChAhv], &["ahv", "avs", "ahv nummer", "ahvn13", "numero avs"]),
    (&[Class::NlBsn], &["bsn", "burgerservicenummer", "sofinummer"]),
    (&[Class::BeNationalNumber], &["rijksregisternummer", "numero national", "registre national", "nrn", "insz", "niss"]),
    (&[Class::EsDni, Class::EsNie], &["dni", "nif", "nie", "documento de identidad", "documento"]),
    (&[Class::PtNif], &["nif", "contribuinte", "numero de contribuinte", "numero fiscal"]),
    (&[Class::PtCc], &["cartao de cidadao", "cartao cidadao", "numero de documento"]),
    (&[Class::ItCodiceFiscale], &["codice fiscale", "cod fiscale", "cf", "codfisc"]),
    (&[Class::GrAmka], &["amka"]),
    (&[Class::GrAfm], &["afm"]),
    (&[Class::TrKimlik], &["tckn", "tc kimlik", "kimlik", "kimlik no"]),
    (&[Class::IlId], &["teudat zehut", "mispar zehut", "tz"]),
    (&[Class::PlPesel], &["pesel"]),
    (&[Class::CzRodneCislo], &["rodne cislo", "birth number", "rc"]),
    (&[Class::HuTaj], &["taj", "tajszam", "taj szam"]),
    (&[Class::RoCnp], &["cnp", "cod numeric personal"]),
    (&[Class::BgEgn], &["egn"]),
    (&[Class::HrOib], &["oib"]),
    (&[Class::SiEmso], &["emso", "jmbg"]),
    (&[Class::UaRntrc], &["rnokpp", "rntrc", "ipn"]),
    (&[Class::RuInn], &["inn"]),
    (&[Class::RuSnils], &["snils"]),
    (&[Class::SePersonnummer], &["personnummer", "pnr", "samordningsnummer"]),
    (&[Class::NoFodselsnummer], &["fodselsnummer", "fnr", "dnummer", "personnummer"]),
    (&[Class::DkCpr], &["cpr", "cpr nummer", "personnummer"]),
    (&[Class::FiHetu], &["hetu", "henkilotunnus", "sotu"]),
    (&[Class::IsKennitala], &["kennitala"]),
    (&[Class::EeIsikukood], &["isikukood"]),
    (&[Class::LtAsmensKodas], &["asmens kodas"]),
    (&[Class::LvPersonasKods], &["personas kods"]),
    (&[Class::InAadhaar], &["aadhaar", "aadhar", "uidai"]),
    (&[Class::InPan], &["pan", "pan number", "permanent account number"]),
    (&[Class::PkCnic], &["cnic", "nic"]),
    (&[Class::CnResidentId], &["shenfenzheng", "sfz", "resident id", "chinese id"]),
    (&[Class::HkId], &["hkid"]),
    (&[Class::JpMyNumber], &["my number", "individual number"]),
    (&[Class::KrRrn], &["rrn", "resident registration number", "jumin"]),
    (&[Class::SgNric, Class::MyNric], &["nric", "fin", "mykad", "ic number"]),
    (&[Class::ThPin], &["thai id"]),
    (&[Class::IdNik], &["nik", "ktp"]),
    (&[Class::AuTfn], &["tfn", "tax file number"]),
    (&[Class::NzIrd], &["ird", "ird number"]),
    (&[Class::ZaId], &["rsa id", "sa id", "id number"]),
    (NATIONAL, &["national id", "national identifier", "nationalid", "identity number", "id card", "identity card", "personal id", "personal code", "personal number", "citizen id", "id number", "government id", "documento nacional", "numero de identificacion", "identificacion", "carte d identite", "numero d identite", "personalausweis", "ausweisnummer", "personenkennzahl", "ausweis", "bilhete de identidade", "documento de identidade", "identidade", "tax id", "tax number", "tax identification number", "taxpayer id", "tin", "social security", "social security number"]),
    (&[Class::Passport], &["passport", "passport number", "passport no", "pasaporte", "passeport", "reisepass", "passnummer", "reisepassnummer", "passaporte"]),
    (&[Class::DrivingLicence], &["driving licence", "driver licence", "driver license", "drivers license", "driver s license", "driving license", "licence number", "dl number", "dln", "licencia de conducir", "carne de conducir", "permiso de conducir", "permis de conduire", "fuhrerschein", "fuehrerschein", "fuhrerscheinnummer", "carta de conducao", "carteira de habilitacao", "cnh", "carteira de motorista"]),
    (&[Class::DateOfBirth], &["dob", "date of birth", "birth date", "birthdate", "birthday", "birth", "born", "born on", "fecha de nacimiento", "fecha nacimiento", "nacimiento", "fec nac", "date de naissance", "naissance", "ne le", "geburtsdatum", "geburtstag", "geboren", "geb datum", "gebdat", "geb", "data de nascimento", "nascimento", "data nasc", "dt nasc"]),
    (&[Class::Ipv4, Class::Ipv6], &["ip", "ip address", "ipaddr", "client ip", "remote addr", "ipv", "direccion ip", "adresse ip", "ip adresse", "endereco ip"]),
    (&[Class::MacAddress], &["mac", "mac address", "hwaddr", "direccion mac", "adresse mac", "mac adresse", "endereco mac"]),
    (&[Class::UrlCredentials], &["connection string", "dsn", "database url"]),
    (&[Class::CryptoAddress], &["wallet", "wallet address", "btc", "eth", "bitcoin", "ethereum", "monedero", "portefeuille", "carteira"]),
    (&[Class::Secret], &["password", "passwd", "pwd", "secret", "api key", "apikey", "access key", "token", "access token", "private key", "client secret", "passphrase", "contrasena", "clave", "mot de passe", "mdp", "passwort", "kennwort", "geheimnis", "senha", "palavra passe"]),
    (&[Class::PersonName], &["name", "first name", "last name", "full name", "given name", "middle name", "family name", "surname", "fname", "lname", "forename", "maiden name", "patient", "patient name", "customer name", "client name", "employee name", "contact name", "cardholder", "nombre", "nombres", "apellido", "apellidos", "primer apellido", "segundo apellido", "nombre completo", "nom", "prenom", "nom de famille", "nom complet", "vorname", "nachname", "familienname", "zuname", "nome", "sobrenome", "apelido", "nome completo", "primeiro nome", "ultimo nome"]),
    (&[Class::PlaceName], &["city", "town", "municipality", "county", "place", "place of birth", "birthplace", "ciudad", "localidad", "municipio", "provincia", "lugar de nacimiento", "ville", "commune", "lieu de naissance", "localite", "stadt", "ort", "wohnort", "geburtsort", "gemeinde", "cidade", "localidade", "concelho", "naturalidade"]),
    (&[Class::PostalAddress], &["address", "street", "street address", "address line", "addr", "home address", "residence", "direccion", "domicilio", "calle", "adresse", "rue", "domicile", "strasse", "anschrift", "wohnadresse", "hausnummer", "endereco", "morada", "rua", "logradouro"]),
    (&[Class::PostalCode], &["zip", "zip code", "zipcode", "postal code", "postcode", "post code", "codigo postal", "cp", "code postal", "plz", "postleitzahl", "cep", "cod postal"]),
];

/// What "national id" may mean.
pub(super) const NATIONAL: &[Class] = &[
    Class::UsSsn,
    Class::UsItin,
    Class::CaSin,
    Class::MxCurp,
    Class::BrCpf,
    Class::ArCuit,
    Class::ClRut,
    Class::CoNit,
    Class::EcCedula,
    Class::DoCedula,
    Class::VeRif,
    Class::GbNino,
    Class::GbNhs,
    Class::IePps,
    Class::FrNir,
    Class::FrSpi,
    Class::DeSteuerId,
    Class::AtSvnr,
    Class::ChAhv,
    Class::NlBsn,
    Class::BeNationalNumber,
    Class::EsDni,
    Class::EsNie,
    Class::PtNif,
    Class::PtCc,
    Class::ItCodiceFiscale,
    Class::GrAmka,
    Class::GrAfm,
    Class::TrKimlik,
    Class::IlId,
    Class::PlPesel,
    Class::CzRodneCislo,
    Class::HuTaj,
    Class::RoCnp,
    Class::BgEgn,
    Class::HrOib,
    Class::SiEmso,
    Class::UaRntrc,
    Class::RuInn,
    Class::RuSnils,
    Class::SePersonnummer,
    Class::NoFodselsnummer,
    Class::DkCpr,
    Class::FiHetu,
    Class::IsKennitala,
    Class::EeIsikukood,
    Class::LtAsmensKodas,
    Class::LvPersonasKods,
    Class::InAadhaar,
    Class::InPan,
    Class::PkCnic,
    Class::CnResidentId,
    Class::TwId,
    Class::HkId,
    Class::JpMyNumber,
    Class::KrRrn,
    Class::SgNric,
    Class::MyNric,
    Class::ThPin,
    Class::IdNik,
    Class::AuTfn,
    Class::NzIrd,
    Class::ZaId,
];

/// Words that name something else.
#[rustfmt::skip]
const OTHER: &[&str] = &[
    "order", "invoice", "sku", "product", "item", "article", "timestamp", "ts", "created", "updated", "modified", "epoch",
    "hash", "checksum", "md", "sha", "uuid", "guid", "version", "amount", "price", "qty", "quantity", "total",
    "ean", "gtin", "upc", "barcode", "isbn", "issn", "tracking", "serial", "batch", "lot", "row", "index", "seq",
    "sequence", "count", "score", "rating", "lat", "lon", "lng", "latitude", "longitude", "build", "ticket",
    "transaction", "txn", "reference", "model", "brand", "company", "file", "hostname", "domain", "event", "status",
    "pedido", "factura", "producto", "articulo", "cantidad", "precio", "importe", "empresa", "fichero",
    "commande", "facture", "produit", "quantite", "prix", "montant", "horodatage", "societe", "fichier", "entreprise",
    "bestellung", "bestellnummer", "rechnung", "rechnungsnummer", "artikel", "artikelnummer", "menge", "preis",
    "betrag", "zeitstempel", "firma", "datei", "unternehmen", "fatura", "produto", "artigo", "quantidade", "preco",
];

/// A column's name, read once.
pub(super) struct Hints {
    words: Vec<String>,
    said: Vec<Class>,
    other: bool,
}

impl Hints {
    pub(super) fn of(name: &str) -> Hints {
        let words = words(name);
        let joined = words.concat();
        let says = |phrase: &&str| {
            let parts: Vec<&str> = phrase.split(' ').collect();
            let squeezed = parts.concat();
            words.windows(parts.len()).any(|window| window == parts)
                || joined == squeezed
                || (squeezed.len() >= 7 && joined.contains(&squeezed))
        };
        let mut said = Vec::new();
        for (classes, phrases) in PHRASES {
            if phrases.iter().any(says) {
                said.extend_from_slice(classes);
            }
        }
        let other = words.iter().any(|word| OTHER.contains(&word.as_str()));
        // An e-mail address is no postal one, and a company's name no person's.
        let only = |said: &[Class], classes: &[Class]| said.iter().any(|it| classes.contains(it));
        if only(&said, &[Class::Email, Class::Ipv4, Class::MacAddress, Class::CryptoAddress]) {
            said.retain(|it| *it != Class::PostalAddress);
        }
        if other
            || words.iter().any(|word| ["user", "nick", "login", "column", "table", "host"].contains(&word.as_str()))
        {
            said.retain(|it| *it != Class::PersonName);
        }
        Hints { words, said, other }
    }

    /// Whether one of these words, folded, stands in the name.
    pub(super) fn has(&self, words: &[&str]) -> bool {
        self.words.iter().any(|word| words.contains(&word.as_str()))
    }

    /// Log-odds for a class.
    pub(super) fn odds(&self, class: Class) -> f32 {
        if self.said.contains(&class) {
            SAYS_SO
        } else if self.other || !self.said.is_empty() {
            SAYS_OTHER
        } else {
            0.0
        }
    }

    /// Whether the name says that it is this class.
    pub(super) fn says(&self, class: Class) -> bool {
        self.said.contains(&class)
    }
}

/// Whether a column's name says that it holds this class; also in one word with others, whose case it may have lost:
/// `useremail`.
pub fn name_says(name: &str, class: Class) -> bool {
    /// Shorter endings are those of other words, too.
    const LEAST_ENDING: usize = 5;
    let ends = || {
        let joined = words(name).concat();
        let of_class = PHRASES.iter().filter(|(classes, _)| classes.contains(&class));
        of_class.flat_map(|(_, phrases)| phrases.iter()).any(|phrase| {
            let squeezed = phrase.replace(' ', "");
            squeezed.len() >= LEAST_ENDING && joined.ends_with(&squeezed)
        })
    };
    let hints = Hints::of(name);
    hints.says(class) || (hints.said.is_empty() && !hints.other && ends())
}

/// The words of a column's name: folded, split where letters, digits and case change.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut last = ' ';
    let letters: Vec<char> = name.chars().collect();
    for (index, &letter) in letters.iter().enumerate() {
        let next_is_lower = letters.get(index + 1).is_some_and(|next| next.is_lowercase());
        let begins = letter.is_uppercase() && (last.is_lowercase() || (last.is_uppercase() && next_is_lower));
        let turns = letter.is_numeric() != last.is_numeric() && last.is_alphanumeric();
        if (begins || turns || !letter.is_alphanumeric()) && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if letter.is_alphanumeric() || !letter.is_ascii() {
            fold::push(letter, words.last_mut().expect("there is always a last word"));
        }
        last = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_five_languages() {
        for (class, names) in [
            (Class::Email, ["email", "correo_electronico", "Courriel", "E-Mail-Adresse", "endereço eletrônico"]),
            (Class::Phone, ["phoneNumber", "Teléfono", "Numéro de téléphone", "Telefonnummer", "telemóvel"]),
            (
                Class::DateOfBirth,
                ["DateOfBirth", "FECHA_NACIMIENTO", "date de naissance", "Geburtsdatum", "dataNascimento"],
            ),
            (Class::PersonName, ["first_name", "Apellidos", "Prénom", "NACHNAME", "sobrenome"]),
            (Class::PostalAddress, ["StreetAddress", "dirección", "adresse", "Straße", "endereço"]),
            (Class::PlaceName, ["city", "ciudad", "ville", "Wohnort", "cidade"]),
            (Class::PostalCode, ["ZIP", "código postal", "code_postal", "PLZ", "CEP"]),
            (Class::Passport, ["passport_no", "pasaporte", "passeport", "Reisepassnummer", "passaporte"]),
            (
                Class::PaymentCard,
                ["cardNumber", "numero_tarjeta", "carte bancaire", "Kreditkartennummer", "cartão de crédito"],
            ),
            (Class::Secret, ["password", "contraseña", "mot de passe", "Passwort", "senha"]),
        ] {
            for name in names {
                assert!(Hints::of(name).says(class), "{name} says nothing of {class:?}");
            }
        }
    }

    #[test]
    fn names_that_have_lost_their_case_still_say_so() {
        for name in ["useremail", "homephone", "user_email", "Phone Number", "customerfirstname"] {
            let class = if name.to_lowercase().contains("name") {
                Class::PersonName
            } else if name.contains("mail") {
                Class::Email
            } else {
                Class::Phone
            };
            assert!(name_says(name, class), "{name}");
        }
        assert!(!name_says("order_id", Class::Email) && !name_says("email", Class::Phone));
    }

    #[test]
    fn names_of_other_things_speak_against() {
        assert!(Hints::of("order_id").odds(Class::NlBsn) < 0.0);
        assert!(Hints::of("created_ts").odds(Class::PaymentCard) < 0.0);
        assert!(!Hints::of("product_name").says(Class::PersonName));
        assert!(!Hints::of("email_address").says(Class::PostalAddress));
        assert_eq!(Hints::of("value").odds(Class::NlBsn), 0.0);
    }
}
