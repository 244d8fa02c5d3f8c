//! What it asks of the API server; `cargo xtask bench operator` measures the rest.

use std::time::Duration;

use anyhow::Result;

use crate::world::{World, allows};

const STATUSES: &str = "securityprofilenodestatuses";
#[tokio::test]
async fn a_profile_costs_two_requests_and_an_event() -> Result<()> {
    const COUNT: u32 = 20;
    let world = World::new().await?;
    let _daemon = world.start()?;
    world.apply("first", &allows(&["read"])).await?;
    world.is_installed("first").await?;
    world.event("first", "SavedSeccompProfile").await?;
    let before = Requests::so_far(&world).await?;
    for number in 0..COUNT {
        world
            .apply(&format!("p{number}"), &allows(&["read"]))
            .await?;
    }
    for number in 0..COUNT {
        world.is_installed(&format!("p{number}")).await?;
    }
    // What would be written twice, is written soon.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = Requests::so_far(&world).await?;
    let per_profile = |after: f64, before: f64| (after - before) / f64::from(COUNT);
    let created = per_profile(after.created, before.created);
    let patched = per_profile(after.patched, before.patched);
    let events = per_profile(after.events, before.events);
    println!("requests per profile: {created} created, {patched} patched, {events} events");
    assert!((created - 1.0).abs() < 0.001, "{created}");
    assert!((patched - 1.0).abs() < 0.001, "{patched}");
    assert!(events <= 1.001, "{events}");
    world.remove().await
}

struct Requests {
    created: f64,
    patched: f64,
    events: f64,
}

impl Requests {
    async fn so_far(world: &World) -> Result<Self> {
        Ok(Self {
            created: world.requests("POST", STATUSES).await?,
            patched: world.requests("PATCH", STATUSES).await?,
            events: world.requests("POST", "events").await?,
        })
    }
}
