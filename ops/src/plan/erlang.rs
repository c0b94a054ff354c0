//! Erlang's loss formula (Erlang B): the share of calls that finds all of `servers` taken when calls come at random
//! and do not wait.
//!
//! Only the mean of the holding time counts, not its distribution (Sevastyanov 1957), which is why one formula serves
//! X slots that are let go early and A lines that are kept to the end of the call.

/// Share of calls refused by `servers` servers that are offered `offered` Erlang (calls a second times mean seconds
/// held). 1 without servers, 0 without traffic.
///
/// The recurrence `B(n) = a·B(n−1) / (n + a·B(n−1))` never leaves 0 to 1, so that it neither overflows nor loses
/// digits as the sum of powers and factorials does. Costs some nanoseconds a server.
pub fn blocking(servers: u64, offered: f64) -> f64 {
    let mut share = 1.0;
    for server in 1..=servers {
        share = next(share, server, offered);
        if share == 0.0 {
            break;
        }
    }
    share
}

/// The fewest servers, at least 1, that refuse at most the share `most` of `offered` Erlang.
pub fn servers(offered: f64, most: f64) -> u64 {
    let (mut server, mut share) = (1, next(1.0, 1, offered));
    while share > most {
        server += 1;
        share = next(share, server, offered);
    }
    server
}

fn next(share: f64, server: u64, offered: f64) -> f64 {
    let stuck = offered * share;
    stuck / (server as f64 + stuck)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_erlang_gives_the_exact_fractions() {
        // 1 / sum of n!/k!: 2, 5, 16, 65, 326 for 1 to 5 servers.
        for (servers, inverse) in [
            (0, 1.0),
            (1, 2.0),
            (2, 5.0),
            (3, 16.0),
            (4, 65.0),
            (5, 326.0),
        ] {
            let share = blocking(servers, 1.0);
            assert!((share * inverse - 1.0).abs() < 1e-14, "{servers}: {share}");
        }
    }

    /// The traffic that so many servers carry at a given loss, as every printed Erlang B table has it (rows 1 to 200,
    /// columns 0.1 %, 1 %, 2 % and 5 %), rounded to four digits.
    #[test]
    fn tables_of_the_trade_are_met() {
        for (servers, percent, erlang) in [
            (1, 1.0, 0.0101),
            (5, 1.0, 1.361),
            (10, 0.1, 3.092),
            (10, 1.0, 4.461),
            (10, 2.0, 5.084),
            (10, 5.0, 6.216),
            (20, 0.1, 9.411),
            (20, 1.0, 12.03),
            (30, 1.0, 20.34),
            (50, 0.1, 32.51),
            (50, 1.0, 37.90),
            (100, 0.1, 75.24),
            (100, 1.0, 84.06),
            (100, 5.0, 95.24),
            (200, 1.0, 179.7),
        ] {
            let share = blocking(servers, erlang) * 100.0;
            assert!(
                (share / percent - 1.0).abs() < 0.01,
                "{servers} servers, {erlang} Erlang: {share} % instead of {percent} %"
            );
            // A table's traffic is rounded, so step aside of it to be sure on which side the loss lies.
            assert_eq!(super::servers(erlang * 0.995, percent / 100.0), servers);
            assert_eq!(super::servers(erlang * 1.005, percent / 100.0), servers + 1);
        }
    }

    #[test]
    fn a_million_erlang_neither_overflows_nor_loses_digits() {
        let needed = servers(1e6, 1e-3);
        // Fewer than a million: one call in a thousand is refused.
        assert_eq!(needed, 999_697);
        assert!(blocking(needed, 1e6) <= 1e-3);
        assert!(blocking(needed - 1, 1e6) > 1e-3);
        assert_eq!(blocking(2_000_000, 1e6), 0.0);
    }

    #[test]
    fn no_traffic_is_never_refused() {
        assert_eq!(blocking(1, 0.0), 0.0);
        assert_eq!(servers(0.0, 1e-9), 1);
    }

    proptest! {
        #[test]
        fn more_servers_refuse_less_and_more_traffic_is_refused_more(
            servers in 1u64..3_000, offered in 0.01f64..3_000.0, more in 1.001f64..2.0
        ) {
            let share = blocking(servers, offered);
            prop_assert!((0.0..1.0).contains(&share));
            prop_assert!(blocking(servers + 1, offered) < share || share < 1e-300);
            prop_assert!(blocking(servers, offered * more) > share || share < 1e-300);
            // What is carried can be no more than all servers busy all the time.
            prop_assert!(offered * (1.0 - share) <= servers as f64 * (1.0 + 1e-12));
        }

        #[test]
        fn the_fewest_servers_are_enough_and_one_less_is_not(offered in 0.01f64..3_000.0, digits in 0.4f64..6.0) {
            let most = 10f64.powf(-digits);
            let needed = servers(offered, most);
            prop_assert!(blocking(needed, offered) <= most);
            prop_assert!(needed == 1 || blocking(needed - 1, offered) > most);
        }
    }
}
