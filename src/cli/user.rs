//! Who is at the keyboard, as the system knows it.

/// As the environment says, or else the system's list of users. Without control characters, and as long as an actor may
/// be.
pub(super) fn of_system(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let told = ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(variable);
    let name = told.or_else(of_process)?;
    let mut name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
    while name.len() > 128 {
        name.pop();
    }
    (!name.is_empty()).then_some(name)
}

/// Containers and jobs of cron often have no such variable.
#[cfg(target_os = "linux")]
fn of_process() -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata("/proc/self").ok()?.uid();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    Some(name_of(uid, &users).unwrap_or_else(|| format!("uid {uid}")))
}

#[cfg(not(target_os = "linux"))]
fn of_process() -> Option<String> {
    None
}

#[cfg(any(target_os = "linux", test))]
fn name_of(uid: u32, users: &str) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        (id.parse() == Ok(uid) && !name.is_empty()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_comes_first_and_the_list_of_users_after_it() {
        assert_eq!(of_system(|name| (name == "LOGNAME").then(|| "ada\n".into())).as_deref(), Some("ada"));
        let users = "root:x:0:0::/root:/bin/sh\nmaya:x:1000:1000::/home/maya:/bin/sh\n";
        assert_eq!(name_of(1000, users).as_deref(), Some("maya"));
        assert_eq!(name_of(1001, users), None);
    }

    #[test]
    fn what_is_given_fits_an_actor() {
        let long = of_system(|_| Some(format!("\u{1b}{}", "é".repeat(100)))).unwrap();
        assert_eq!(long.len(), 128);
    }
}
