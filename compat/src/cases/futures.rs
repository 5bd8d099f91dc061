//! Crates whose functions are asynchronous, called by `gaggle::block_on`.

use super::web::two_gets;
use crate::at_once::{Failure, at_once, expect_same};
use crate::servers::address_of;
use gaggle::block_on;
use std::time::Duration;
use tonic::transport::Endpoint;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Both of its clients: the one that blocks and the one that is awaited.
pub fn reqwest(count: usize) -> Result<(), Failure> {
    let client = reqwest::blocking::Client::new();
    two_gets(count, |url| Ok(client.get(url).send()?.text()?))?;
    let client = reqwest::Client::new();
    two_gets(count, |url| {
        block_on(async { Ok(client.get(url).send().await?.text().await?) })
    })
}

pub fn sqlx(count: usize) -> Result<(), Failure> {
    let options = sqlx::postgres::PgPoolOptions::new()
        .max_connections(20)
        .acquire_timeout(Duration::from_secs(60));
    let pool = block_on(options.connect(&address_of("COMPAT_POSTGRES")?))?;
    at_once(count, |number| {
        let number = number as i64;
        block_on(async {
            let mut transaction = pool.begin().await?;
            for factor in 0..3 {
                let product: i64 =
                    sqlx::query_scalar("SELECT $1::int8 * $2::int8 FROM pg_sleep(0.002)")
                        .bind(number)
                        .bind(factor)
                        .fetch_one(&mut *transaction)
                        .await?;
                expect_same(product, number * factor)?;
            }
            Ok(transaction.commit().await?)
        })
    })?;
    expect_same(pool.size() <= 20, true)?;
    block_on(pool.close());
    Ok(())
}

pub fn tonic(count: usize) -> Result<(), Failure> {
    let url = format!("http://{}", address_of("COMPAT_GRPC")?);
    let channel = block_on(Endpoint::from_shared(url)?.connect())?;
    let request = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    at_once(count, |number| {
        let mut client = HealthClient::new(channel.clone());
        let (service, expected) = match number % 2 {
            0 => ("even", ServingStatus::Serving),
            _ => ("odd", ServingStatus::NotServing),
        };
        let answer = block_on(client.check(request(service)))?;
        expect_same(answer.into_inner().status, expected as i32)?;
        let refused = block_on(client.check(request("unknown"))).err();
        expect_same(
            refused.map(|status| status.code()),
            Some(tonic::Code::NotFound),
        )?;
        // A stream whose end only this side calls.
        let mut stream = block_on(client.watch(request(service)))?.into_inner();
        let first = block_on(stream.message())?;
        expect_same(first.map(|answer| answer.status), Some(expected as i32))
    })?;
    Ok(())
}
