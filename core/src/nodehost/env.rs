//! Which variables a caller may set for a command (spec 08 S-99).
//!
//! A variable that makes a program load or run something else is as good as another program: the policy has judged
//! the one, and the other would run. What a caller must not set is left out, and told to whoever watches the node.

use std::collections::BTreeMap;

use serde_json::Value;

use super::desk::Fault;

/// At most so many variables, and so many bytes of them.
const MOST: (usize, usize) = (64, 32 * 1_024);

/// Names that are never taken. Compared in upper case.
const FORBIDDEN: &[&str] = &[
    "ALL_PROXY",
    "ASPNETCORE_URLS",
    "BASHOPTS",
    "BASH_ENV",
    "BROWSER",
    "CDPATH",
    "CLASSPATH",
    "CURL_HOME",
    "CURL_CA_BUNDLE",
    "EDITOR",
    "ENV",
    "EXINIT",
    "FPATH",
    "GCONV_PATH",
    "GETCONF_DIR",
    "GLIBC_TUNABLES",
    "GLOBIGNORE",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "JAVA_OPTS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LESSCLOSE",
    "LESSOPEN",
    "LESSKEY",
    "LOCALDOMAIN",
    "LOCPATH",
    "LUA_CPATH",
    "LUA_INIT",
    "LUA_PATH",
    "MAKEFLAGS",
    "MANPAGER",
    "MAVEN_OPTS",
    "NLSPATH",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "PAGER",
    "PATH",
    "PROMPT_COMMAND",
    "PS4",
    "REQUESTS_CA_BUNDLE",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    "SHELL",
    "SHELLOPTS",
    "TMPDIR",
    "VISUAL",
    "VIMINIT",
    "WGETRC",
    "XAUTHORITY",
    "ZDOTDIR",
    "_JAVA_OPTIONS",
];

/// Beginnings of names that are never taken.
const FORBIDDEN_BEGINNINGS: &[&str] = &[
    "BASH_FUNC_",
    "CARGO_",
    "CLAWDBOT_",
    "CORECLR_",
    "COR_",
    "DBUS_",
    "DOTNET_",
    "DYLD_",
    "ELECTRON_",
    "GIT_",
    "GTK_",
    "LD_",
    "MALLOC_",
    "MOLTBOT_",
    "NODE_",
    "NPM_",
    "OPENCLAW_",
    "PERL",
    "PHP",
    "PIP_",
    "PYTHON",
    "QT_",
    "RUBY",
    "RUSTC",
    "RUSTFLAGS",
    "SSH_",
    "SSL",
    "SUDO_",
    "TELSON_",
    "UV_",
    "XDG_",
];

/// What a caller wants to set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    /// What is taken.
    pub(super) taken: BTreeMap<String, String>,
    /// The names of what is left out.
    pub(super) left_out: Vec<String>,
}

impl Overrides {
    /// Reads the `env` of a request.
    pub(super) fn read(env: Option<&Value>) -> Result<Self, Fault> {
        let env = match env {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Object(env)) => env,
            Some(_) => return Err(Fault::invalid("env is no object")),
        };
        let bytes: usize =
            env.iter().map(|(name, value)| name.len() + value.as_str().map_or(0, str::len)).sum();
        if env.len() > MOST.0 || bytes > MOST.1 {
            return Err(Fault::invalid(format!(
                "env is too large; at most {} variables and {} bytes",
                MOST.0, MOST.1
            )));
        }
        let mut overrides = Self::default();
        for (name, value) in env {
            let value = value.as_str().ok_or_else(|| Fault::invalid(format!("env/{name} is no string")))?;
            let name = name.trim();
            if value.contains('\0') {
                return Err(Fault::invalid(format!("env/{name} contains a NUL byte")));
            }
            if may_be_set(name) {
                overrides.taken.insert(name.to_owned(), value.to_owned());
            } else {
                overrides.left_out.push(name.to_owned());
            }
        }
        Ok(overrides)
    }
}

/// Whether a caller may set a variable.
fn may_be_set(name: &str) -> bool {
    let head = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let plain = head && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let upper = name.to_ascii_uppercase();
    plain
        && !FORBIDDEN.contains(&upper.as_str())
        && !FORBIDDEN_BEGINNINGS.iter().any(|beginning| upper.starts_with(beginning))
        && !upper.ends_with("_PROXY")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn what_makes_a_program_run_something_else_is_left_out() {
        for name in [
            "PATH",
            "Path",
            " LD_PRELOAD ",
            "ld_library_path",
            "DYLD_INSERT_LIBRARIES",
            "NODE_OPTIONS",
            "PYTHONPATH",
            "PERL5OPT",
            "RUBYOPT",
            "BASH_ENV",
            "ENV",
            "IFS",
            "GIT_SSH_COMMAND",
            "SSL_CERT_FILE",
            "https_proxy",
            "HTTP_PROXY",
            "NO_PROXY",
            "BASH_FUNC_ls%%",
            "JAVA_TOOL_OPTIONS",
            "npm_config_prefix",
            "TELSON_STATE_DIR",
            "OPENCLAW_X",
            "HOME",
            "PAGER",
            "LESSOPEN",
            "",
            "A=B",
            "A B",
            "1A",
            "ä",
            "PS4",
            "CARGO_HOME",
            "XDG_CONFIG_HOME",
            "DOTNET_STARTUP_HOOKS",
            "GCONV_PATH",
        ] {
            let read = Overrides::read(Some(&json!({ name: "x" }))).unwrap();
            assert!(read.taken.is_empty() && read.left_out.len() == 1, "{name}");
        }
    }

    #[test]
    fn plain_variables_are_taken() {
        let read = Overrides::read(Some(&json!({"LANG": "C", "DEBUG": "1", "my_var2": ""}))).unwrap();
        assert_eq!(read.taken.len(), 3);
        assert_eq!(Overrides::read(None).unwrap(), Overrides::default());
    }

    #[test]
    fn what_cannot_be_an_environment_is_refused() {
        let many: serde_json::Map<String, Value> = (0..65).map(|n| (format!("A{n}"), json!(""))).collect();
        for env in
            [json!([]), json!({"A": 1}), json!({"A": "\u{0}"}), json!({"A": "x".repeat(40_000)}), json!(many)]
        {
            assert!(Overrides::read(Some(&env)).is_err());
        }
    }
}
