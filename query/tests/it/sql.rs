//! Runs `tests/sql/*.slt` of the repository: questions, and the answers they must get from one lake of forty sessions.

use crate::lake::Fixture;
use crate::slt;
use std::path::Path;
use wk_query::Config;

#[tokio::test]
async fn questions_in_files_get_the_answers_in_files() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sql"));
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "slt"))
        // Those have a lake of their own; see `saved.rs`.
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "saved"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let lake = Fixture::new(40, Config::default()).await;
    let mut wrong = Vec::new();
    for file in files {
        let cases = slt::parse(&std::fs::read_to_string(&file).unwrap());
        wrong.extend(slt::differences(&lake, &file, cases).await);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}
