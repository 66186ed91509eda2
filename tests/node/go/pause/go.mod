module scalable-api/tests/node/pause

go 1.26.0
