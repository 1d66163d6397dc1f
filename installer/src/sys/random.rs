//! Random numbers, from the kernel.

use uuid::Uuid;

use crate::config::Salt;

/// A new salt for the hash of a password.
pub fn salt() -> Salt {
    let mut salt = [0; 12];
    let random = Uuid::new_v4().into_bytes();
    salt.copy_from_slice(&random[..12]);
    salt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same() {
        assert_ne!(salt(), salt());
    }
}
