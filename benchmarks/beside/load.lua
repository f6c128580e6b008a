-- wrk's side: sends the requests of a file in turn ("path<TAB>body" a line) and says what came of it as JSON.
local requests, at, count = {}, 0, 0

function init(args)
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/json"
    for line in io.lines(args[1]) do
        local path, body = line:match("^([^\t]*)\t(.*)$")
        count = count + 1
        requests[count] = wrk.format("POST", path, nil, body)
    end
end

function request()
    at = at % count + 1
    return requests[at]
end

function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        '\nRESULT {"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "bad": %d, "broken": %d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        e.status, e.connect + e.read + e.write + e.timeout))
end
