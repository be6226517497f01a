//! For the fuzz targets: a file, as it is read and edited.

use std::path::Path;

use super::setting::SETTINGS;
use super::source::Layers;
use super::{Config, edit, file, levels};

/// Reads `text` as a configuration file. One that is taken gives a configuration that does not contradict itself, or says
/// why not; and each setting, chosen by `number`, can be set in it and taken out again.
///
/// # Panics
/// When that is not so.
pub fn configuration(text: &str, number: usize) {
    let _ = levels::directives(text);
    let apply = |text: &str| {
        let mut layers = Layers::defaults().expect("the defaults");
        file::apply(Path::new("fuzzed.toml"), text, &mut layers).map(|()| layers)
    };
    let Ok(layers) = apply(text) else {
        return;
    };
    if let Ok(config) = Config::from_layers(&layers) {
        assert!(config.server().is_ok());
        let _ = (config.engines(), config.derived(), config.policy_paths());
    }
    let setting = &SETTINGS[number % SETTINGS.len()];
    let default = setting.kind.read_text(setting.default).expect("a default");
    if let Ok(set) = edit::set(text, setting, &default) {
        let again = apply(&set).expect("a file in which a setting was set");
        let value = again.get(setting.key).map(|it| &it.value);
        assert_eq!(value, Some(&default), "{}", setting.key);
        let unset = edit::unset(&set, setting).expect("a file in which it is set");
        assert!(apply(&unset.expect("it was set")).is_ok());
    }
}
