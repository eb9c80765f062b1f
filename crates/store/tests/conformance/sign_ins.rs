//! Sign-ins on their way.

use planner::Timestamp;
use store::{
    Error,
    domain::{Device, SignIn, SignInState},
};

use crate::{fixtures::*, support::Database};

fn device(number: u8, user_code: Option<&str>, expires_at: Timestamp) -> SignIn {
    let state = SignInState::OnDevice(Device::Waits);
    SignIn { hash: [number; 32], user_code: user_code.map(str::to_owned), state, expires_at }
}

pub async fn one_is_used_up_once_and_in_its_time(database: Database) {
    let store = database.open().await;
    let (one, other) = (device(1, None, NOW.plus(10)), device(2, None, NOW.plus(20)));
    for sign_in in [&one, &other] {
        store.begin_sign_in(sign_in, NOW, 10).await.unwrap();
    }
    assert_eq!(store.sign_in(&[1; 32], NOW).await.unwrap(), one);
    assert!(matches!(store.use_sign_in(&[1; 32], NOW.plus(10)).await, Err(Error::NotFound { .. })));
    assert_eq!(store.use_sign_in(&[1; 32], NOW.plus(9)).await.unwrap(), one);
    assert!(matches!(store.use_sign_in(&[1; 32], NOW).await, Err(Error::NotFound { .. })));
    store.delete_expired_sign_ins(NOW.plus(19)).await.unwrap();
    assert_eq!(store.sign_in(&[2; 32], NOW).await.unwrap(), other);
    store.delete_expired_sign_ins(NOW.plus(20)).await.unwrap();
    assert!(matches!(store.sign_in(&[2; 32], NOW).await, Err(Error::NotFound { .. })));
}

pub async fn a_device_is_found_by_what_a_person_types(database: Database) {
    let store = database.open().await;
    let begun = device(1, Some("BCDF-GHJK"), NOW.plus(10));
    store.begin_sign_in(&begun, NOW, 10).await.unwrap();
    let taken = store.begin_sign_in(&device(2, Some("BCDF-GHJK"), NOW.plus(10)), NOW, 10).await;
    assert!(matches!(taken, Err(Error::NameTaken { .. })), "{taken:?}");
    let allowed = SignInState::OnDevice(Device::Allowed(user()));
    let unknown = store.answer_sign_in("ZZZZ-ZZZZ", &allowed, NOW, None).await;
    assert!(matches!(unknown, Err(Error::NotFound { .. })), "{unknown:?}");
    let late = store.answer_sign_in("BCDF-GHJK", &allowed, NOW.plus(10), None).await;
    assert!(matches!(late, Err(Error::NotFound { .. })), "{late:?}");
    store.answer_sign_in("BCDF-GHJK", &allowed, NOW, None).await.unwrap();
    let second = store.answer_sign_in("BCDF-GHJK", &SignInState::OnDevice(Device::Denied), NOW, None).await;
    assert!(matches!(second, Err(Error::NotFound { .. })), "the first answer counts: {second:?}");
    assert_eq!(store.sign_in(&[1; 32], NOW).await.unwrap(), SignIn { state: allowed, ..begun });
}

pub async fn those_whose_time_is_over_make_room_and_no_others(database: Database) {
    let store = database.open().await;
    for number in [1, 2] {
        store.begin_sign_in(&device(number, None, NOW.plus(10)), NOW, 2).await.unwrap();
    }
    let full = store.begin_sign_in(&device(3, None, NOW.plus(30)), NOW, 2).await;
    assert!(matches!(full, Err(Error::InUse { .. })), "{full:?}");
    assert!(store.sign_in(&[1; 32], NOW).await.is_ok());
    store.begin_sign_in(&device(3, None, NOW.plus(30)), NOW.plus(10), 2).await.unwrap();
}
