//! What a client sent comes back byte by byte.

use presence_core::{
    ActivityQuery, ActivityStore, CheckpointQuery, CheckpointStore, Content, EventProperties, NewEvent,
    Window,
};

use crate::support::{at, commit, event, fresh, row, user};

/// What JSONB would give back in another form: numbers as decimals, keys by length.
const CHANGED: &[&str] = &["1e300", "-0.0", "1e-7", "5e-324", "1.7976931348623157e308", r#"{"b":1,"aa":2}"#];
const KEPT: &[&str] = &["1.0", "0.1", "-1", "18446744073709551615", r#""é\u0001\\\"""#, "[1,[2,{}]]", "null"];

#[tokio::test]
async fn content_is_kept_as_text_that_jsonb_would_rewrite() {
    let (store, database) = fresh().await;
    for (number, text) in (0_i64..).zip(CHANGED.iter().chain(KEPT)) {
        let content = Content::parse(text).unwrap();
        let name = format!("user {number}");
        let row = presence_core::NewCheckpoint { content: Some(content.clone()), ..row("Working", 1000) };
        store.commit(vec![commit(&name, None, row)]).await.unwrap();
        let rows = store.history(&user(&name), Window::all(), None, 1).await.unwrap();
        assert_eq!(rows[0].content.as_ref().unwrap().as_str(), content.as_str(), "{text}");
    }
    for (number, text) in (0_i64..).zip(CHANGED.iter().chain(KEPT)) {
        let properties = EventProperties::parse(&format!(r#"{{"p":{text}}}"#)).unwrap();
        let event = NewEvent {
            properties: Some(properties.clone()),
            ..event(&number.to_string(), "phone-4711", None, number)
        };
        store.append(vec![event]).await.unwrap();
        let after = Some((at(number), 0));
        let events = store.events(Window::all(), after, 1).await.unwrap();
        assert_eq!(events[0].properties.as_ref(), Some(&properties), "{text}");
    }
    let rewritten = "SELECT count(*) FROM presence.checkpoints
        WHERE regexp_replace(content::jsonb::text, '([:,]) ', '\\1', 'g') <> content::text";
    assert_eq!(database.psql(rewritten), CHANGED.len().to_string(), "the reason why it is not JSONB");
}
