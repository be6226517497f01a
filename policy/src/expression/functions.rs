//! The functions there are, and those of CEL that there are not.

use crate::error::Mistake;

/// Called on a value: `path.startsWith('/etc')`.
pub(super) const METHODS: [&str; 19] = [
    "startsWith",
    "endsWith",
    "contains",
    "matches",
    "glob",
    "size",
    "containsIP",
    "exists",
    "all",
    "getFullYear",
    "getMonth",
    "getDayOfMonth",
    "getDate",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];
/// Called by themselves: `size(process.args)`.
pub(super) const FUNCTIONS: [&str; 5] = ["size", "has", "cidr", "duration", "timestamp"];

/// Names of CEL and of Kubernetes' libraries that are known and refused, each with what to do.
const REFUSED: [(&str, &str); 25] = [
    ("exists_one", "use exists()"),
    ("existsOne", "use exists()"),
    ("filter", "use exists() or all() with the condition"),
    ("map", "use exists() or all() with the condition"),
    ("type", "types are known when the policy is loaded"),
    ("dyn", "types are known when the policy is loaded"),
    ("int", "nothing is converted"),
    ("uint", "nothing is converted"),
    ("double", "nothing is converted"),
    ("string", "nothing is converted"),
    ("bytes", "nothing is converted"),
    ("bool", "nothing is converted"),
    ("ip", "write the address as a string"),
    ("isIP", "write the address as a string"),
    ("containsCIDR", "use containsIP()"),
    ("lowerAscii", "use matches('(?i)…')"),
    ("upperAscii", "use matches('(?i)…')"),
    ("split", "use matches()"),
    ("substring", "use startsWith(), endsWith() or matches()"),
    ("indexOf", "use contains()"),
    ("charAt", "use matches()"),
    ("replace", "use matches()"),
    ("join", "use exists() on the list"),
    ("trim", "use matches()"),
    ("find", "use matches()"),
];

/// Why there is no function of this name.
pub(super) fn missing(name: &str, at: usize, method: bool) -> Mistake {
    if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Mistake::new(at, format!("`{name}()` is not supported: {instead}"));
    }
    let (what, here, there): (_, &[&str], &[&str]) = if method {
        ("method", &METHODS, &FUNCTIONS)
    } else {
        ("function", &FUNCTIONS, &METHODS)
    };
    if there.contains(&name) {
        let form = if method {
            format!("{name}(x)")
        } else {
            format!("x.{name}(…)")
        };
        return Mistake::new(at, format!("`{name}` is called as `{form}`"));
    }
    Mistake::unknown(
        at,
        format!("unknown {what} `{name}`"),
        name,
        here.iter().copied(),
    )
}
