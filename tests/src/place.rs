//! Where a scenario runs: on this machine, or in a guest with a given kernel and variant.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

/// How a guest differs from the kernel as its distribution ships it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// As shipped.
    Stock,
    /// `bpf` added to the active LSMs, where the distribution leaves it out.
    BpfLsm,
    /// `/sys/kernel/btf` hidden, as on a kernel built without it.
    NoBtf,
    /// Fully preemptible: programs are interrupted by programs.
    Preempt,
    /// One CPU whose clock counts its instructions, a nanosecond each.
    Counted,
    /// The same, its root a Debian with other tools that watch: what the sensor is measured beside.
    Peers,
    /// A whole Debian with systemd, into which packages are installed.
    System,
    /// The same with Podman.
    Podman,
    /// Another machine: the distribution's kernel for arm64, as shipped.
    Arm64,
}

impl Variant {
    const ALL: [Self; 9] = [
        Self::Stock,
        Self::BpfLsm,
        Self::NoBtf,
        Self::Preempt,
        Self::Counted,
        Self::Peers,
        Self::System,
        Self::Podman,
        Self::Arm64,
    ];

    fn suffix(self) -> &'static str {
        match self {
            Self::Stock => "",
            Self::BpfLsm => "+lsm",
            Self::NoBtf => "+nobtf",
            Self::Preempt => "+preempt",
            Self::Counted => "+icount",
            Self::Peers => "+peers",
            Self::System => "+system",
            Self::Podman => "+podman",
            Self::Arm64 => "+arm64",
        }
    }

    /// What is added to the kernel's command line.
    pub fn command_line(self) -> &'static str {
        match self {
            Self::Stock | Self::NoBtf | Self::Arm64 => "",
            Self::BpfLsm => "lsm=lockdown,yama,loadpin,safesetid,integrity,apparmor,bpf",
            Self::Preempt => "preempt=full",
            Self::Counted | Self::Peers => "norandmaps",
            // Nobody is to log in, and no new machine is set up.
            Self::System | Self::Podman => {
                "rdinit=/usr/lib/systemd/systemd systemd.getty_auto=no systemd.firstboot=off systemd.show_status=no"
            }
        }
    }

    /// How the kernel takes the timer as it is. On a busy host its interrupts come late, which a kernel would else take for
    /// broken wiring and hang (`check_timer` of `arch/x86/kernel/apic/io_apic.c`).
    pub fn timer(self) -> &'static str {
        match self {
            Self::Arm64 => "",
            _ => "no_timer_check",
        }
    }

    /// The emulator.
    pub fn emulator(self) -> &'static str {
        match self {
            Self::Arm64 => "qemu-system-aarch64",
            _ => "qemu-system-x86_64",
        }
    }

    /// The serial ports: the kernel's console, and the one of the results.
    pub fn ports(self) -> [&'static str; 2] {
        match self {
            Self::Arm64 => ["ttyAMA0", "ttyAMA1"],
            _ => ["ttyS0", "ttyS1"],
        }
    }

    /// What the emulator is told about the machine.
    pub fn machine(self) -> &'static [&'static str] {
        match self {
            // Signing pointers by the architecture's own cipher takes an emulator most of its time.
            Self::Arm64 => &[
                "-machine",
                "virt",
                "-accel",
                "tcg,thread=single",
                "-cpu",
                "max,pauth-impdef=on",
                "-smp",
                "2",
            ],
            // Without the two features each step of `rep movsb` would be an instruction.
            Self::Counted | Self::Peers => &[
                "-accel",
                "tcg",
                "-icount",
                "shift=0,sleep=off",
                "-cpu",
                "max,-erms,-fsrm",
                "-smp",
                "1",
            ],
            // One host thread for both CPUs: with a thread each, a CPU may still meet the breakpoint
            // of a code patch that the kernel has already taken back ("Oops: int3" while booting).
            // Two guests at once fill the machine all the same.
            _ => &["-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2"],
        }
    }
}

/// One place; its text form (`native`, `6.1`, `6.1+nobtf`) is its name everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This machine, whatever its kernel can do.
    Native,
    /// A guest kernel.
    Guest {
        /// The version as asked for: `6.1`, or `7` for the newest 7.x.
        kernel: String,
        /// How it differs from the stock kernel.
        variant: Variant,
    },
}

impl Place {
    /// Whether this is a guest, where nothing but the scenario runs.
    pub fn is_guest(&self) -> bool {
        matches!(self, Self::Guest { .. })
    }

    /// How its kernel differs.
    pub fn variant(&self) -> Variant {
        match self {
            Self::Native => Variant::Stock,
            Self::Guest { variant, .. } => *variant,
        }
    }

    /// Whether this is a guest with this variant.
    pub fn is_variant(&self, wanted: Variant) -> bool {
        self.is_guest() && self.variant() == wanted
    }

    /// Whether this is a guest with a whole system.
    pub fn is_system(&self) -> bool {
        self.is_variant(Variant::System) || self.is_variant(Variant::Podman)
    }

    /// Whether this is a guest of which the kernel is as its distribution ships it, for whichever machine.
    pub fn is_as_shipped(&self) -> bool {
        self.is_variant(Variant::Stock) || self.is_variant(Variant::Arm64)
    }

    /// Whether this is a guest of this version as shipped, for the machine that most have.
    pub fn is_stock(&self, version: &str) -> bool {
        matches!(self, Self::Guest { kernel, variant: Variant::Stock } if kernel == version)
    }

    /// Whether this is a guest of which the kernel lets programs be attached by trampolines.
    pub fn has_trampolines(&self) -> bool {
        matches!(self.best_tier(), Some("lsm" | "fmod_ret"))
    }

    /// The best tier that the kernel has, which is the one the sensor must come up in.
    /// Unknown natively: it depends on the machine.
    pub fn best_tier(&self) -> Option<&'static str> {
        match self {
            Self::Native => None,
            Self::Guest {
                variant: Variant::NoBtf,
                ..
            } => Some("tracepoint"),
            Self::Guest {
                kernel,
                variant: Variant::Stock,
            } if kernel == "5.10" => Some("fmod_ret"),
            // Its trampolines attach to no functions of the kernel before 6.4.
            Self::Guest {
                kernel,
                variant: Variant::Arm64,
            } if kernel == "6.1" => Some("kprobe"),
            Self::Guest { .. } => Some("lsm"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native => f.write_str("native"),
            Self::Guest { kernel, variant } => write!(f, "{kernel}{}", variant.suffix()),
        }
    }
}

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "native" {
            return Ok(Self::Native);
        }
        let plus = text.find('+').unwrap_or(text.len());
        let (kernel, suffix) = text.split_at(plus);
        if kernel.is_empty() || !kernel.chars().all(|c| c.is_ascii_digit() || c == '.') {
            bail!("'{text}' is no place: give a kernel version such as 6.1, or 6.1+nobtf");
        }
        let variant = Variant::ALL
            .into_iter()
            .find(|variant| variant.suffix() == suffix)
            .with_context(|| {
                format!("no variant '{suffix}': there are +lsm, +nobtf, +preempt, +icount, +peers, +system, +podman, +arm64")
            })?;
        Ok(Self::Guest {
            kernel: kernel.to_owned(),
            variant,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_its_text() {
        for text in [
            "native",
            "5.10",
            "5.10+lsm",
            "6.1+nobtf",
            "6.12+preempt",
            "6.1+arm64",
            "7",
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in ["", "+lsm", "six", "6.1+", "6.1+fast"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
