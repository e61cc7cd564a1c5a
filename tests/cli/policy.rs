//! `wk policy`: a person asks a policy before an agent does.

use super::place;

#[test]
fn a_policy_is_checked_explained_and_tested() {
    let (_dir, installation, workspace) = place();
    let ask = |arguments: &[&str]| {
        let done = installation.wk(arguments.iter().copied()).current_dir(&workspace).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        (done.status.code(), said)
    };
    let (code, said) = ask(&["policy", "check"]);
    assert!(code == Some(0) && said.contains("workspace+network"), "{said}");
    let (code, said) = ask(&["policy", "explain", "build", "write", "src/main.rs"]);
    assert!(code == Some(0) && said.starts_with("allow, by ") && said.contains("the work itself"), "{said}");
    let (code, said) = ask(&["policy", "explain", "build", "run", "/usr/bin/npm", "publish"]);
    assert!(code == Some(0) && said.starts_with("deny, by ") && said.contains("becomes public"), "{said}");
    let (code, said) = ask(&["policy", "test", "read-only"]);
    assert!(code == Some(0) && said.contains("0 failed"), "{said}");
    let wrong = workspace.join("wrong.toml");
    let text =
        "name = \"w\"\n[network]\ndefault = \"deny\"\n[[tests]]\nconnect = \"a.example:1\"\nexpect = \"allow\"\n";
    std::fs::write(&wrong, text).unwrap();
    let (code, said) = ask(&["policy", "test", wrong.to_str().unwrap()]);
    assert!(code == Some(1) && said.contains("FAILED  connect a.example:1: deny, by the default"), "{said}");
    std::fs::write(&wrong, text.replace("deny", "deyn")).unwrap();
    let (code, said) = ask(&["policy", "check", wrong.to_str().unwrap()]);
    assert!(code == Some(2) && said.contains("wrong.toml:3:11: unknown variant `deyn`"), "{said}");
}
