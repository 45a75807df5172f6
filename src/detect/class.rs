//! The classes of personal data, one line each. A class's name is what policies, receipts and `--json` call it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What column rules call all national identifiers together.
pub const NATIONAL_ID: &str = "national_id";

macro_rules! classes {
    ($($class:ident $name:literal $title:literal)*) => {
        /// A class of personal data.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Class {
            $(#[doc = $title] $class,)*
        }

        impl Class {
            /// All classes, in the order of their declaration.
            pub const ALL: &[Class] = &[$(Class::$class,)*];

            /// The name in configuration and output.
            pub fn name(self) -> &'static str {
                match self { $(Class::$class => $name,)* }
            }

            /// What a person calls it, as it stands within a sentence.
            pub fn title(self) -> &'static str {
                match self { $(Class::$class => $title,)* }
            }
        }
    };
}

classes! {
    Email "email" "e-mail address"
    Phone "phone" "phone number"
    PaymentCard "payment_card" "payment card number"
    Iban "iban" "IBAN"
    UsSsn "us_ssn" "US Social Security number"
    UsItin "us_itin" "US individual taxpayer number"
    UsEin "us_ein" "US employer number"
    CaSin "ca_sin" "Canadian social insurance number"
    MxCurp "mx_curp" "Mexican CURP"
    BrCpf "br_cpf" "Brazilian CPF"
    BrCnpj "br_cnpj" "Brazilian CNPJ"
    ArCuit "ar_cuit" "Argentine CUIT"
    ClRut "cl_rut" "Chilean RUT"
    CoNit "co_nit" "Colombian NIT"
    EcCedula "ec_cedula" "Ecuadorian cédula"
    DoCedula "do_cedula" "Dominican cédula"
    VeRif "ve_rif" "Venezuelan RIF"
    GbNhs "gb_nhs" "UK NHS number"
    GbNino "gb_nino" "UK National Insurance number"
    IePps "ie_pps" "Irish PPS number"
    FrNir "fr_nir" "French NIR"
    FrSpi "fr_spi" "French tax number"
    DeSteuerId "de_steuer_id" "German tax identification number"
    AtSvnr "at_svnr" "Austrian social insurance number"
    ChAhv "ch_ahv" "Swiss AHV number"
    NlBsn "nl_bsn" "Dutch BSN"
    BeNationalNumber "be_national_number" "Belgian national number"
    EsDni "es_dni" "Spanish DNI"
    EsNie "es_nie" "Spanish NIE"
    PtNif "pt_nif" "Portuguese NIF"
    PtCc "pt_cc" "Portuguese citizen card number"
    ItCodiceFiscale "it_codice_fiscale" "Italian codice fiscale"
    GrAmka "gr_amka" "Greek AMKA"
    GrAfm "gr_afm" "Greek AFM"
    TrKimlik "tr_kimlik" "Turkish identity number"
    IlId "il_id" "Israeli identity number"
    PlPesel "pl_pesel" "Polish PESEL"
    CzRodneCislo "cz_rodne_cislo" "Czech or Slovak birth number"
    HuTaj "hu_taj" "Hungarian TAJ number"
    RoCnp "ro_cnp" "Romanian CNP"
    BgEgn "bg_egn" "Bulgarian EGN"
    HrOib "hr_oib" "Croatian OIB"
    SiEmso "si_emso" "EMŠO or JMBG"
    UaRntrc "ua_rntrc" "Ukrainian taxpayer number"
    RuInn "ru_inn" "Russian personal INN"
    RuSnils "ru_snils" "Russian SNILS"
    SePersonnummer "se_personnummer" "Swedish personal number"
    NoFodselsnummer "no_fodselsnummer" "Norwegian birth number"
    DkCpr "dk_cpr" "Danish CPR number"
    FiHetu "fi_hetu" "Finnish personal identity code"
    IsKennitala "is_kennitala" "Icelandic kennitala"
    EeIsikukood "ee_isikukood" "Estonian personal code"
    LtAsmensKodas "lt_asmens_kodas" "Lithuanian personal code"
    LvPersonasKods "lv_personas_kods" "Latvian personal code"
    InAadhaar "in_aadhaar" "Indian Aadhaar number"
    InPan "in_pan" "Indian PAN"
    PkCnic "pk_cnic" "Pakistani CNIC"
    CnResidentId "cn_resident_id" "Chinese resident identity number"
    TwId "tw_id" "Taiwanese identity number"
    HkId "hk_id" "Hong Kong identity card number"
    JpMyNumber "jp_my_number" "Japanese Individual Number"
    KrRrn "kr_rrn" "Korean resident registration number"
    SgNric "sg_nric" "Singaporean NRIC or FIN"
    MyNric "my_nric" "Malaysian NRIC"
    ThPin "th_pin" "Thai identity number"
    IdNik "id_nik" "Indonesian NIK"
    AuTfn "au_tfn" "Australian tax file number"
    NzIrd "nz_ird" "New Zealand IRD number"
    ZaId "za_id" "South African identity number"
    Passport "passport" "passport number"
    DrivingLicence "driving_licence" "driving licence number"
    DateOfBirth "date_of_birth" "date of birth"
    Ipv4 "ipv4" "IPv4 address"
    Ipv6 "ipv6" "IPv6 address"
    MacAddress "mac_address" "MAC address"
    UrlCredentials "url_credentials" "URL with credentials"
    CryptoAddress "crypto_address" "cryptocurrency address"
    Secret "secret" "secret (key, token or password)"
    PersonName "person_name" "person's name"
    PlaceName "place_name" "place name"
    PostalAddress "postal_address" "postal address"
    PostalCode "postal_code" "postal code"
}

impl Class {
    /// The class of that name.
    pub fn of_name(name: &str) -> Option<Class> {
        Class::ALL.iter().copied().find(|class| class.name() == name)
    }

    /// The classes that a column rule means by a name: one, or all national identifiers.
    pub fn of_rule(name: &str) -> Option<Vec<Class>> {
        if name == NATIONAL_ID {
            return Some(super::phrases::NATIONAL.to_vec());
        }
        Class::of_name(name).map(|class| vec![class])
    }

    /// The class with the nearest name, for suggestions.
    pub fn nearest(name: &str) -> Class {
        let near = |class: &Class| strsim::jaro(class.name(), name);
        *Class::ALL.iter().max_by(|a, b| near(a).total_cmp(&near(b))).expect("there are classes")
    }
}

impl Serialize for Class {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Class {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Class, D::Error> {
        let name = String::deserialize(deserializer)?;
        Class::of_name(&name).ok_or_else(|| serde::de::Error::custom("unknown class of personal data"))
    }
}
