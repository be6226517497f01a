//! What ATT&CK says of techniques (<https://attack.mitre.org>, enterprise matrix, version 16): their names, and the tactics that
//! they serve. Those of Linux and of containers; a part of a technique (`T1003.008`) serves what the whole does.

use Tactic::{
    Collection, CommandAndControl, CredentialAccess, DefenseEvasion, Discovery, Execution,
    Exfiltration, Impact, InitialAccess, LateralMovement, Persistence, PrivilegeEscalation,
};

/// What an attacker is after, in the order of the matrix. Reconnaissance and development of resources are not here: they happen elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tactic {
    InitialAccess,
    Execution,
    Persistence,
    PrivilegeEscalation,
    DefenseEvasion,
    CredentialAccess,
    Discovery,
    LateralMovement,
    Collection,
    CommandAndControl,
    Exfiltration,
    Impact,
}

impl Tactic {
    pub(super) const ALL: [Self; 12] = [
        InitialAccess,
        Execution,
        Persistence,
        PrivilegeEscalation,
        DefenseEvasion,
        CredentialAccess,
        Discovery,
        LateralMovement,
        Collection,
        CommandAndControl,
        Exfiltration,
        Impact,
    ];

    /// Its id and its name.
    pub(super) const fn shown(self) -> (&'static str, &'static str) {
        match self {
            InitialAccess => ("TA0001", "Initial Access"),
            Execution => ("TA0002", "Execution"),
            Persistence => ("TA0003", "Persistence"),
            PrivilegeEscalation => ("TA0004", "Privilege Escalation"),
            DefenseEvasion => ("TA0005", "Defense Evasion"),
            CredentialAccess => ("TA0006", "Credential Access"),
            Discovery => ("TA0007", "Discovery"),
            LateralMovement => ("TA0008", "Lateral Movement"),
            Collection => ("TA0009", "Collection"),
            CommandAndControl => ("TA0011", "Command and Control"),
            Exfiltration => ("TA0010", "Exfiltration"),
            Impact => ("TA0040", "Impact"),
        }
    }
}

/// By number.
const TECHNIQUES: [(u16, &str, &[Tactic]); 127] = [
    (1003, "OS Credential Dumping", &[CredentialAccess]),
    (1005, "Data from Local System", &[Collection]),
    (1006, "Direct Volume Access", &[DefenseEvasion]),
    (1007, "System Service Discovery", &[Discovery]),
    (1014, "Rootkit", &[DefenseEvasion]),
    (1016, "System Network Configuration Discovery", &[Discovery]),
    (1018, "Remote System Discovery", &[Discovery]),
    (1020, "Automated Exfiltration", &[Exfiltration]),
    (1021, "Remote Services", &[LateralMovement]),
    (1027, "Obfuscated Files or Information", &[DefenseEvasion]),
    (1029, "Scheduled Transfer", &[Exfiltration]),
    (1030, "Data Transfer Size Limits", &[Exfiltration]),
    (1033, "System Owner/User Discovery", &[Discovery]),
    (1036, "Masquerading", &[DefenseEvasion]),
    (
        1037,
        "Boot or Logon Initialization Scripts",
        &[Persistence, PrivilegeEscalation],
    ),
    (1039, "Data from Network Shared Drive", &[Collection]),
    (1040, "Network Sniffing", &[CredentialAccess, Discovery]),
    (1041, "Exfiltration Over C2 Channel", &[Exfiltration]),
    (1046, "Network Service Discovery", &[Discovery]),
    (
        1048,
        "Exfiltration Over Alternative Protocol",
        &[Exfiltration],
    ),
    (1049, "System Network Connections Discovery", &[Discovery]),
    (
        1053,
        "Scheduled Task/Job",
        &[Execution, Persistence, PrivilegeEscalation],
    ),
    (
        1055,
        "Process Injection",
        &[PrivilegeEscalation, DefenseEvasion],
    ),
    (1056, "Input Capture", &[CredentialAccess, Collection]),
    (1057, "Process Discovery", &[Discovery]),
    (1059, "Command and Scripting Interpreter", &[Execution]),
    (
        1068,
        "Exploitation for Privilege Escalation",
        &[PrivilegeEscalation],
    ),
    (1069, "Permission Groups Discovery", &[Discovery]),
    (1070, "Indicator Removal", &[DefenseEvasion]),
    (1071, "Application Layer Protocol", &[CommandAndControl]),
    (
        1072,
        "Software Deployment Tools",
        &[Execution, LateralMovement],
    ),
    (1074, "Data Staged", &[Collection]),
    (
        1078,
        "Valid Accounts",
        &[
            InitialAccess,
            Persistence,
            PrivilegeEscalation,
            DefenseEvasion,
        ],
    ),
    (1080, "Taint Shared Content", &[LateralMovement]),
    (1082, "System Information Discovery", &[Discovery]),
    (1083, "File and Directory Discovery", &[Discovery]),
    (1087, "Account Discovery", &[Discovery]),
    (1090, "Proxy", &[CommandAndControl]),
    (1095, "Non-Application Layer Protocol", &[CommandAndControl]),
    (
        1098,
        "Account Manipulation",
        &[Persistence, PrivilegeEscalation],
    ),
    (1102, "Web Service", &[CommandAndControl]),
    (1104, "Multi-Stage Channels", &[CommandAndControl]),
    (1105, "Ingress Tool Transfer", &[CommandAndControl]),
    (1106, "Native API", &[Execution]),
    (1110, "Brute Force", &[CredentialAccess]),
    (1113, "Screen Capture", &[Collection]),
    (1115, "Clipboard Data", &[Collection]),
    (1119, "Automated Collection", &[Collection]),
    (1120, "Peripheral Device Discovery", &[Discovery]),
    (1123, "Audio Capture", &[Collection]),
    (1124, "System Time Discovery", &[Discovery]),
    (1125, "Video Capture", &[Collection]),
    (1129, "Shared Modules", &[Execution]),
    (1132, "Data Encoding", &[CommandAndControl]),
    (
        1133,
        "External Remote Services",
        &[InitialAccess, Persistence],
    ),
    (1135, "Network Share Discovery", &[Discovery]),
    (1136, "Create Account", &[Persistence]),
    (
        1140,
        "Deobfuscate/Decode Files or Information",
        &[DefenseEvasion],
    ),
    (1189, "Drive-by Compromise", &[InitialAccess]),
    (1190, "Exploit Public-Facing Application", &[InitialAccess]),
    (1195, "Supply Chain Compromise", &[InitialAccess]),
    (1199, "Trusted Relationship", &[InitialAccess]),
    (1200, "Hardware Additions", &[InitialAccess]),
    (1201, "Password Policy Discovery", &[Discovery]),
    (1203, "Exploitation for Client Execution", &[Execution]),
    (1204, "User Execution", &[Execution]),
    (
        1205,
        "Traffic Signaling",
        &[Persistence, DefenseEvasion, CommandAndControl],
    ),
    (1210, "Exploitation of Remote Services", &[LateralMovement]),
    (1211, "Exploitation for Defense Evasion", &[DefenseEvasion]),
    (
        1212,
        "Exploitation for Credential Access",
        &[CredentialAccess],
    ),
    (1217, "Browser Information Discovery", &[Discovery]),
    (
        1222,
        "File and Directory Permissions Modification",
        &[DefenseEvasion],
    ),
    (1480, "Execution Guardrails", &[DefenseEvasion]),
    (1485, "Data Destruction", &[Impact]),
    (1486, "Data Encrypted for Impact", &[Impact]),
    (1489, "Service Stop", &[Impact]),
    (1490, "Inhibit System Recovery", &[Impact]),
    (1491, "Defacement", &[Impact]),
    (1495, "Firmware Corruption", &[Impact]),
    (1496, "Resource Hijacking", &[Impact]),
    (
        1497,
        "Virtualization/Sandbox Evasion",
        &[DefenseEvasion, Discovery],
    ),
    (1498, "Network Denial of Service", &[Impact]),
    (1499, "Endpoint Denial of Service", &[Impact]),
    (1505, "Server Software Component", &[Persistence]),
    (1518, "Software Discovery", &[Discovery]),
    (1525, "Implant Internal Image", &[Persistence]),
    (1528, "Steal Application Access Token", &[CredentialAccess]),
    (1529, "System Shutdown/Reboot", &[Impact]),
    (1531, "Account Access Removal", &[Impact]),
    (1539, "Steal Web Session Cookie", &[CredentialAccess]),
    (1542, "Pre-OS Boot", &[Persistence, DefenseEvasion]),
    (
        1543,
        "Create or Modify System Process",
        &[Persistence, PrivilegeEscalation],
    ),
    (
        1546,
        "Event Triggered Execution",
        &[Persistence, PrivilegeEscalation],
    ),
    (
        1547,
        "Boot or Logon Autostart Execution",
        &[Persistence, PrivilegeEscalation],
    ),
    (
        1548,
        "Abuse Elevation Control Mechanism",
        &[PrivilegeEscalation, DefenseEvasion],
    ),
    (
        1550,
        "Use Alternate Authentication Material",
        &[DefenseEvasion, LateralMovement],
    ),
    (1552, "Unsecured Credentials", &[CredentialAccess]),
    (1553, "Subvert Trust Controls", &[DefenseEvasion]),
    (1554, "Compromise Host Software Binary", &[Persistence]),
    (
        1555,
        "Credentials from Password Stores",
        &[CredentialAccess],
    ),
    (
        1556,
        "Modify Authentication Process",
        &[Persistence, DefenseEvasion, CredentialAccess],
    ),
    (
        1557,
        "Adversary-in-the-Middle",
        &[CredentialAccess, Collection],
    ),
    (1559, "Inter-Process Communication", &[Execution]),
    (1560, "Archive Collected Data", &[Collection]),
    (1561, "Disk Wipe", &[Impact]),
    (1562, "Impair Defenses", &[DefenseEvasion]),
    (1563, "Remote Service Session Hijacking", &[LateralMovement]),
    (1564, "Hide Artifacts", &[DefenseEvasion]),
    (1565, "Data Manipulation", &[Impact]),
    (1567, "Exfiltration Over Web Service", &[Exfiltration]),
    (1568, "Dynamic Resolution", &[CommandAndControl]),
    (1569, "System Services", &[Execution]),
    (1570, "Lateral Tool Transfer", &[LateralMovement]),
    (1571, "Non-Standard Port", &[CommandAndControl]),
    (1572, "Protocol Tunneling", &[CommandAndControl]),
    (1573, "Encrypted Channel", &[CommandAndControl]),
    (
        1574,
        "Hijack Execution Flow",
        &[Persistence, PrivilegeEscalation, DefenseEvasion],
    ),
    (1609, "Container Administration Command", &[Execution]),
    (1610, "Deploy Container", &[Execution, DefenseEvasion]),
    (1611, "Escape to Host", &[PrivilegeEscalation]),
    (1612, "Build Image on Host", &[DefenseEvasion]),
    (1613, "Container and Resource Discovery", &[Discovery]),
    (1614, "System Location Discovery", &[Discovery]),
    (1620, "Reflective Code Loading", &[DefenseEvasion]),
    (1622, "Debugger Evasion", &[DefenseEvasion, Discovery]),
    (1654, "Log Enumeration", &[Discovery]),
    (
        1659,
        "Content Injection",
        &[InitialAccess, CommandAndControl],
    ),
];

/// Name and tactics of a technique, as of `T1003` or `T1003.008`; `None` for one that is not known here.
pub(super) fn technique(id: &str) -> Option<(&'static str, &'static [Tactic])> {
    let number = id.strip_prefix('T')?.split('.').next()?.parse().ok()?;
    let at = TECHNIQUES
        .binary_search_by_key(&number, |(number, ..)| *number)
        .ok()?;
    let (_, name, tactics) = TECHNIQUES[at];
    Some((name, tactics))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_and_serves_something() {
        assert!(TECHNIQUES.is_sorted_by_key(|(number, ..)| *number));
        for (number, name, tactics) in TECHNIQUES {
            assert_eq!(technique(&format!("T{number}.001")), Some((name, tactics)));
            assert!(!tactics.is_empty() && tactics.is_sorted(), "{number}");
        }
        assert_eq!(technique("T1"), None);
        assert_eq!(technique("1003"), None);
    }

    #[test]
    fn those_of_the_shipped_rules_are_known() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies");
        let mut found = 0;
        for entry in std::fs::read_dir(directory).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let document: serde_json::Value = serde_json::from_str(&text).unwrap();
            for rule in document["rules"].as_array().into_iter().flatten() {
                for id in rule["mitre"].as_array().into_iter().flatten() {
                    let id = id.as_str().unwrap();
                    assert!(technique(id).is_some(), "{id}");
                    found += 1;
                }
            }
        }
        assert!(found > 50, "{found}");
    }
}
