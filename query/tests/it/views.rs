//! The views: what they say they are, and what they find in sessions whose story is known.

use crate::lake::Fixture;
use arrow::datatypes::{DataType, Schema};
use wk_query::Config;
use wk_query::views::ALL;

fn sql_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::Utf8View => "text".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Int32 => "int".into(),
        DataType::Float64 => "double".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Binary | DataType::BinaryView => "bytes".into(),
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::Date32 => "date".into(),
        DataType::List(item) => format!("{}[]", sql_type(item.data_type())),
        DataType::Struct(_) => "struct".into(),
        other => format!("unexpected {other}"),
    }
}

#[tokio::test]
async fn every_view_has_the_columns_and_types_that_it_says() {
    let lake = Fixture::new(20, Config::default()).await;
    let mut wrong = Vec::new();
    for view in ALL {
        let answer = match lake.ask(&format!("SELECT * FROM {}", view.name)).await {
            Ok(answer) => answer,
            Err(error) => {
                wrong.push(format!("{}: {error}", view.name));
                continue;
            }
        };
        let schema: &Schema = &answer.schema();
        let found: Vec<String> =
            schema.fields().iter().map(|f| format!("{}.{} {}", view.name, f.name(), sql_type(f.data_type()))).collect();
        let said: Vec<String> =
            view.columns.iter().map(|c| format!("{}.{} {}", view.name, c.name, c.data_type)).collect();
        wrong.extend(said.iter().zip(&found).filter(|(s, f)| s != f).map(|(s, f)| format!("said {s}, found {f}")));
        assert_eq!(said.len(), found.len(), "{}", view.name);
        match answer.all().await {
            Ok(rows) => {
                let rows: usize = rows.iter().map(|batch| batch.num_rows()).sum();
                if rows == 0 && view.name != "dead_letters" {
                    wrong.push(format!("{} is empty", view.name));
                }
            }
            Err(error) => wrong.push(format!("{}: {error}", view.name)),
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_column_of_every_view_is_documented_once() {
    let lake = Fixture::new(1, Config::default()).await;
    let twice = "SELECT count(*) FROM (SELECT table_name, column_name FROM columns GROUP BY 1, 2 HAVING count(*) > 1)";
    assert_eq!(lake.one(twice).await, "0");
    assert_eq!(lake.one("SELECT count(*) FROM columns WHERE description = ''").await, "0");
    // What the engine knows of and what `columns` explains is the same, for views, for what they are made of, and for the top level of
    // `records`.
    let known = "(SELECT CASE table_schema WHEN 'public' THEN table_name ELSE concat(table_schema, '.', table_name) END AS table_name, \
                 column_name FROM information_schema.columns WHERE table_schema IN ('public', 'rollups'))";
    let unexplained = format!(
        "SELECT DISTINCT concat(i.table_name, ': ', i.column_name) FROM {known} i WHERE NOT EXISTS \
         (SELECT 1 FROM columns c WHERE c.table_name = i.table_name AND c.column_name = i.column_name)"
    );
    assert_eq!(lake.rows(&unexplained).await.unwrap(), Vec::<Vec<String>>::new());
    let unknown = format!(
        "SELECT DISTINCT concat(c.table_name, ': ', c.column_name) FROM columns c WHERE c.column_name NOT LIKE '%[%' AND NOT EXISTS \
         (SELECT 1 FROM {known} i WHERE c.table_name = i.table_name AND c.column_name = i.column_name)"
    );
    assert_eq!(lake.rows(&unknown).await.unwrap(), Vec::<Vec<String>>::new());
    assert_eq!(
        lake.one("SELECT count(DISTINCT table_name) FROM information_schema.tables WHERE table_schema = 'public'")
            .await,
        (ALL.len() + 2).to_string()
    );
    let rollups = "SELECT count(DISTINCT table_name) FROM columns WHERE table_name LIKE 'rollups.%'";
    assert_eq!(lake.one(rollups).await, "8");
}

#[tokio::test]
async fn a_null_body_gives_null_members_and_not_leftovers() {
    let lake = Fixture::new(4, Config::default()).await;
    let sql = "SELECT count(process_started['actor']['pid']), count(*) FILTER (WHERE kind = 'process_started'), \
               count(*) FILTER (WHERE process_started['command_line'] IS NULL) = count(*) FILTER (WHERE kind <> 'process_started') \
               FROM records";
    let rows = lake.rows(sql).await.unwrap();
    assert_eq!(rows[0][0], rows[0][1]);
    assert_eq!(rows[0][2], "true");
}

#[tokio::test]
async fn a_question_during_commits_sees_whole_commits_and_each_record_once() {
    let lake = Fixture::new(8, Config::default()).await;
    let committing = async {
        for n in 100..130u64 {
            let said = crate::agents::session(n, crate::agents::START, 1);
            lake.keeper.lock().await.commit(said).await;
        }
    };
    let asking = async {
        let mut last = 0;
        for _ in 0..15 {
            // Two scans of one question: both must see the same version of the table.
            let rows = lake
                .rows(
                    "SELECT (SELECT count(*) FROM records), (SELECT count(DISTINCT record_id) FROM records), \
                     (SELECT count(DISTINCT concat(topic, '/', \"offset\")) FROM records)",
                )
                .await
                .unwrap();
            assert_eq!(rows[0][0], rows[0][1]);
            assert_eq!(rows[0][0], rows[0][2]);
            let now: u64 = rows[0][0].parse().unwrap();
            assert!(now >= last);
            last = now;
        }
    };
    tokio::join!(committing, asking);
    let records = lake.keeper.lock().await.records;
    assert_eq!(lake.one("SELECT count(*) FROM records").await, records.to_string());
}
