//! Which events a Sigma rule is about, and what its fields are called here.

use holdfast_wire::Kind;
use rsigma_parser::ast::LogSource;

use crate::field::{Field, Type};

/// A log source of Sigma that the sensor sees. Its taxonomy names the fields:
/// <https://sigmahq.io/sigma-specification/specification/sigma-appendix-taxonomy.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    ProcessCreation,
    /// A file is created or written to.
    FileEvent,
    FileAccess,
    FileDelete,
    FileRename,
    NetworkConnection,
    DnsQuery,
}

/// What a field of Sigma is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mapped {
    /// A field of the event; `is_path` where upper and lower case matter.
    Field {
        name: String,
        kind: Type,
        is_path: bool,
    },
    /// The same in every event of this source.
    Constant(&'static str),
}

const CATEGORIES: [(&str, Source); 8] = [
    ("process_creation", Source::ProcessCreation),
    ("file_event", Source::FileEvent),
    ("file_change", Source::FileEvent),
    ("file_access", Source::FileAccess),
    ("file_delete", Source::FileDelete),
    ("file_rename", Source::FileRename),
    ("network_connection", Source::NetworkConnection),
    ("dns_query", Source::DnsQuery),
];

const PROCESS: [(&str, &str); 6] = [
    ("Image", "process.executable"),
    ("User", "process.user.name"),
    ("ProcessId", "process.pid"),
    ("ParentImage", "process.parent.executable"),
    ("ParentProcessId", "process.parent.pid"),
    ("ParentUser", "process.parent.user.name"),
];
const COMMAND: [(&str, &str); 3] = [
    ("CommandLine", "process.command_line"),
    ("ParentCommandLine", "process.parent.command_line"),
    ("CurrentDirectory", "process.working_directory"),
];
const FILE: [(&str, &str); 1] = [("TargetFilename", "file.path")];
const RENAME: [(&str, &str); 2] = [
    ("SourceFilename", "file.path"),
    ("TargetFilename", "file.target_path"),
];
const NETWORK: [(&str, &str); 5] = [
    ("DestinationIp", "destination.ip"),
    ("DestinationPort", "destination.port"),
    ("SourceIp", "source.ip"),
    ("SourcePort", "source.port"),
    ("Protocol", "network.transport"),
];
const DNS: [(&str, &str); 2] = [
    ("QueryName", "dns.question.name"),
    ("record_type", "dns.question.type"),
];

impl Source {
    /// What a rule is about, or why the sensor does not see it.
    pub(super) fn of(source: &LogSource) -> Result<Self, String> {
        if let Some(product) = source.product.as_deref().filter(|it| *it != "linux") {
            return Err(format!("it is about the product `{product}`"));
        }
        if let Some(service) = &source.service {
            return Err(format!("it is about the log of the service `{service}`"));
        }
        let category = source.category.as_deref().unwrap_or_default();
        let found = CATEGORIES.iter().find(|(name, _)| *name == category);
        found.map(|(_, source)| *source).ok_or_else(|| {
            let known: Vec<&str> = CATEGORIES.iter().map(|(name, _)| *name).collect();
            format!(
                "its log source is the category `{category}`; known are {}",
                known.join(", ")
            )
        })
    }

    /// The kind of event that it is.
    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::ProcessCreation => Kind::ProcessExec,
            Self::FileEvent | Self::FileAccess => Kind::FileOpen,
            Self::FileDelete => Kind::FileDelete,
            Self::FileRename => Kind::FileRename,
            Self::NetworkConnection => Kind::NetworkConnect,
            Self::DnsQuery => Kind::NetworkDns,
        }
    }

    /// What holds for all its events.
    pub(super) const fn always(self) -> Option<&'static str> {
        match self {
            // Whoever creates a file or writes to one opens it for that.
            Self::FileEvent => Some("!('O_RDONLY' in holdfast.flags)"),
            Self::DnsQuery => Some("dns.type == 'query'"),
            _ => None,
        }
    }

    /// What a field of Sigma's taxonomy, or of ECS, is here.
    pub(super) fn field(self, name: &str) -> Result<Mapped, String> {
        if self == Self::NetworkConnection && name == "Initiated" {
            // Who accepts a connection does not connect.
            return Ok(Mapped::Constant("true"));
        }
        let tables: &[&[(&str, &'static str)]] = match self {
            Self::ProcessCreation => &[&PROCESS, &COMMAND],
            Self::FileEvent | Self::FileAccess | Self::FileDelete => &[&PROCESS, &FILE, &COMMAND],
            Self::FileRename => &[&PROCESS, &RENAME, &COMMAND],
            Self::NetworkConnection => &[&PROCESS, &NETWORK, &COMMAND],
            Self::DnsQuery => &[&PROCESS, &DNS, &COMMAND],
        };
        let found = tables.iter().flat_map(|table| table.iter());
        let mut found = found.filter(|(sigma, _)| *sigma == name);
        let ours = found.next().map_or(name, |(_, ours)| *ours);
        let field = Field::from_name(ours).filter(|it| it.kinds().contains(self.kind()));
        let field = field.ok_or_else(|| format!("no event has a field like `{name}`"))?;
        Ok(Mapped::Field {
            name: ours.to_owned(),
            kind: field.value_type(),
            is_path: ["executable", "path", "directory"]
                .iter()
                .any(|end| ours.ends_with(end)),
        })
    }
}
