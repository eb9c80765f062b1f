//! Places that a policy can name: one location, a country, a continent. Codes are read in any case, and are lower-case from then on.

use std::fmt;

use super::{Invalid, Name};

/// A place that a policy allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// One location, by name. It need not be there yet.
    Location(Name),
    /// Every location in a country.
    Country(Country),
    /// Every location on a continent.
    Continent(Continent),
}

/// A country, by its code in ISO 3166-1 alpha-2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Country(&'static str);

/// A continent, by the two letters that geographic data commonly gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Continent {
    /// `af`
    Africa,
    /// `an`
    Antarctica,
    /// `as`
    Asia,
    /// `eu`
    Europe,
    /// `na`
    NorthAmerica,
    /// `oc`
    Oceania,
    /// `sa`
    SouthAmerica,
}

/// All codes of ISO 3166-1 alpha-2, and `xk`, which is in use for Kosovo and left free by it.
const COUNTRIES: &str = "\
    ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bl bm bn bo bq br bs bt bv bw by bz \
    ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg eh er es et fi fj fk fm fo fr \
    ga gb gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp \
    ke kg kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly \
    ma mc md me mf mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz om \
    pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw \
    sa sb sc sd se sg sh si sj sk sl sm sn so sr ss st sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz \
    ua ug um us uy uz va vc ve vg vi vn vu wf ws xk ye yt za zm zw";

impl Country {
    /// Takes a country's code that stands in this field.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        Self::all().find(|known| known.0.eq_ignore_ascii_case(text)).ok_or_else(|| {
            let remedy = "give two letters of ISO 3166-1, such as us, fr or gb";
            Invalid::new(field, format!("{text:?} is not the code of a country"), remedy)
        })
    }

    /// All there are, in the order of their codes.
    pub fn all() -> impl Iterator<Item = Self> {
        COUNTRIES.split(' ').map(Self)
    }

    /// Its code.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl Continent {
    /// All there are, in the order of their codes.
    pub const ALL: [Self; 7] = [
        Self::Africa,
        Self::Antarctica,
        Self::Asia,
        Self::Europe,
        Self::NorthAmerica,
        Self::Oceania,
        Self::SouthAmerica,
    ];

    /// Takes a continent's code that stands in this field.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
            let codes = Self::ALL.map(Self::as_str).join(", ");
            Invalid::new(field, format!("{text:?} is not the code of a continent"), format!("choose one of {codes}"))
        })
    }

    /// Its code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Africa => "af",
            Self::Antarctica => "an",
            Self::Asia => "as",
            Self::Europe => "eu",
            Self::NorthAmerica => "na",
            Self::Oceania => "oc",
            Self::SouthAmerica => "sa",
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Continent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
