-- wrk: GETs with five fields, the keys of a file in turn (wrk ... -- FILE), or one key.
local requests, at = {}, 0
function init(args)
  for key in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", "/api/v1/resources/42", {
      ["Host"] = "127.0.0.1", ["X-API-Key"] = key, ["Accept"] = "application/json", ["User-Agent"] = "bench/1.0", ["Accept-Encoding"] = "gzip",
    })
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
