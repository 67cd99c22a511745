//! Which commands a node may be asked for (spec 03 §2.2, §2.10). Pure.
//!
//! A command passes when the platform's table or the operator allows it, the operator does not deny it, somebody
//! has approved it for this node, and the node itself offers it.

use telson_proto::Protocol;

use super::NodeSettings;
use super::offer::Offer;
use super::platform::Platform;

const CANVAS: &[&str] = &[
    "canvas.present",
    "canvas.hide",
    "canvas.navigate",
    "canvas.eval",
    "canvas.snapshot",
    "canvas.a2ui.push",
    "canvas.a2ui.pushJSONL",
    "canvas.a2ui.reset",
];
const CAMERA: &[&str] = &["camera.list", "camera.snap", "camera.clip"];
const SCREEN: &[&str] = &["screen.record"];
const LOCATION: &[&str] = &["location.get"];
const SMS: &[&str] = &["sms.send"];
const NOTIFY: &[&str] = &["system.notify"];

/// Protocol 3's commands by which a node runs programs of its host or drives its browser.
const V3_HOST: &[&str] =
    &["system.run", "system.which", "system.execApprovals.get", "system.execApprovals.set", "browser.proxy"];

/// The same on protocol 4.
const V4_HOST: &[&str] = &[
    "system.run",
    "system.run.prepare",
    "system.which",
    "system.execApprovals.get",
    "system.execApprovals.set",
    "fs.listDir",
    "browser.proxy",
    "browser.proxy.upload.v1",
    "mcp.tools.call.v1",
    "screen.snapshot",
    "desktop.stream",
];

const V4_PHONE: &[&str] = &[
    "camera.list",
    "location.get",
    "device.info",
    "device.status",
    "contacts.search",
    "calendar.events",
    "reminders.list",
    "photos.latest",
    "motion.activity",
    "motion.pedometer",
    "system.notify",
];
const V4_ANDROID: &[&str] = &[
    "notifications.list",
    "notifications.actions",
    "device.permissions",
    "device.health",
    "device.apps",
    "callLog.search",
    "mobile.ui.observe",
    "mobile.ui.act",
];
const V4_MACOS: &[&str] = &["camera.ptz.status", "device.permissions", "device.health", "computer.act"];
const V4_WINDOWS: &[&str] =
    &["camera.list", "location.get", "device.info", "device.status", "system.notify", "computer.act"];
const V4_LINUX: &[&str] = &["system.notify", "computer.act"];
const V4_WATCH: &[&str] = &["device.info", "device.status", "system.notify"];
const V4_UNKNOWN: &[&str] = &["camera.list", "location.get", "system.notify"];
/// Allowed for a node that can talk, whatever it runs on.
const PUSH_TO_TALK: &[&str] = &["talk.ptt.start", "talk.ptt.stop", "talk.ptt.cancel", "talk.ptt.once"];

/// Commands that are never asked for by `node.invoke`, whoever asks: they change what the node itself allows.
const RESERVED: &str = "system.execApprovals.";

/// Why a command is not allowed; the words travel in `details.reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Objection {
    /// No command at all.
    #[error("command required")]
    Empty,
    /// The platform's table and the operator do not allow it, or the operator denies it.
    #[error("command not allowlisted")]
    NotAllowed,
    /// The node offers nothing.
    #[error("node did not declare commands")]
    NoCommands,
    /// The node does not offer it.
    #[error("command not declared by node")]
    NotDeclared,
    /// The node offers it, and nobody has approved it yet.
    #[error("command not approved")]
    NotApproved,
}

impl Objection {
    /// The sentence for people.
    pub(crate) fn hint(self, command: &str, platform: Platform) -> String {
        match self {
            Self::NotAllowed => {
                format!("\"{command}\" is not in the allowlist for platform \"{}\"", platform.as_str())
            }
            Self::NotApproved => format!("\"{command}\" waits for an approval; see node.pair.list"),
            Self::Empty | Self::NoCommands | Self::NotDeclared => self.to_string(),
        }
    }
}

/// Whether table and operator allow a command on a platform. `talks` says that the node can talk.
pub(crate) fn is_allowed(
    settings: &NodeSettings,
    protocol: Protocol,
    platform: Platform,
    talks: bool,
    command: &str,
) -> bool {
    let listed = |list: &[String]| list.iter().any(|entry| entry.trim() == command);
    if listed(&settings.deny) {
        return false;
    }
    let talking = protocol == Protocol::V4 && talks && PUSH_TO_TALK.contains(&command);
    talking || listed(&settings.allow) || table(protocol, platform).any(|allowed| allowed == command)
}

/// The commands that a platform allows by itself.
fn table(protocol: Protocol, platform: Platform) -> impl Iterator<Item = &'static str> {
    let groups: &[&[&str]] = match (protocol, platform) {
        (Protocol::V3, Platform::Ios) => &[CANVAS, CAMERA, SCREEN, LOCATION],
        (Protocol::V3, Platform::Android) => &[CANVAS, CAMERA, SCREEN, LOCATION, SMS],
        (Protocol::V3, Platform::Macos) => &[CANVAS, CAMERA, SCREEN, LOCATION, NOTIFY, V3_HOST],
        (Protocol::V3, Platform::Linux | Platform::Windows) => &[NOTIFY, V3_HOST],
        // The reference allows everything; a machine that nobody knows runs no programs [S-61].
        (Protocol::V3, Platform::Unknown | Platform::Watchos) => {
            &[CANVAS, CAMERA, SCREEN, LOCATION, SMS, NOTIFY]
        }
        (Protocol::V4, Platform::Ios) => &[V4_PHONE],
        (Protocol::V4, Platform::Android) => &[V4_PHONE, V4_ANDROID],
        (Protocol::V4, Platform::Macos) => &[V4_PHONE, V4_MACOS, V4_HOST],
        (Protocol::V4, Platform::Windows) => &[V4_WINDOWS, V4_HOST],
        (Protocol::V4, Platform::Linux) => &[V4_LINUX, V4_HOST],
        (Protocol::V4, Platform::Watchos) => &[V4_WATCH],
        (Protocol::V4, Platform::Unknown) => &[V4_UNKNOWN],
    };
    groups.iter().flat_map(|group| group.iter().copied())
}

/// Whether a command acts with the rights of the host's user: such are approved by admins, and every use is
/// written into the book of deeds (spec 03 §2.6).
pub(crate) fn acts_on_host(command: &str) -> bool {
    const COMMANDS: [&str; 6] = [
        "system.run",
        "system.run.prepare",
        "system.which",
        "browser.proxy",
        "browser.proxy.upload.v1",
        "fs.listDir",
    ];
    COMMANDS.contains(&command) || is_reserved(command)
}

/// Whether only admins may invoke a command (spec 01 §6.5).
pub(crate) fn is_for_admins(command: &str) -> bool {
    const COMMANDS: [&str; 4] = ["browser.proxy", "browser.proxy.upload.v1", "fs.listDir", "terminal.upload"];
    COMMANDS.contains(&command) || is_reserved(command)
}

/// Whether a command changes what the node itself allows and has methods of its own (08 S-54).
pub(crate) fn is_reserved(command: &str) -> bool {
    command.starts_with(RESERVED)
}

/// What is known of a node when a command is checked.
pub(crate) struct Standing<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) platform: Platform,
    /// What the connection offers.
    pub(crate) declared: &'a Offer,
    /// What somebody has approved.
    pub(crate) approved: Option<&'a Offer>,
}

impl Standing<'_> {
    /// Whether a command may be asked for now.
    ///
    /// # Errors
    ///
    /// The first objection, in the reference's order.
    pub(crate) fn check(&self, settings: &NodeSettings, command: &str) -> Result<(), Objection> {
        if command.is_empty() {
            return Err(Objection::Empty);
        }
        if !self.is_allowed(settings, command) {
            return Err(Objection::NotAllowed);
        }
        if self.declared.commands.is_empty() {
            return Err(Objection::NoCommands);
        }
        if !self.declared.commands.contains(command) {
            return Err(Objection::NotDeclared);
        }
        match self.approved {
            Some(approved) if approved.commands.contains(command) => Ok(()),
            _ => Err(Objection::NotApproved),
        }
    }

    /// What the node offers, without what it may not be asked for anyway.
    pub(crate) fn permitted(&self, settings: &NodeSettings) -> Offer {
        let commands = self.declared.commands.iter().filter(|command| self.is_allowed(settings, command));
        Offer { commands: commands.cloned().collect(), ..self.declared.clone() }
    }

    /// What can be used of the node now.
    pub(crate) fn usable(&self, settings: &NodeSettings) -> Offer {
        let permitted = self.permitted(settings);
        self.approved.map(|approved| permitted.shared_with(approved)).unwrap_or_default()
    }

    fn is_allowed(&self, settings: &NodeSettings, command: &str) -> bool {
        is_allowed(settings, self.protocol, self.platform, self.declared.talks(), command)
    }
}
