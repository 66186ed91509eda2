-- All live overrides; the gateway holds them whole.
SELECT identifier, requests_per_minute, burst_limit, mode,
       extract(epoch FROM expires_at - now())::float8 AS seconds_left
FROM gateway_overrides
LIMIT 10000
