package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// script makes wrk ask for the paths of a file in turn, each thread from another one on.
const script = `local requests, at = {}, 0
local threads = 0
function setup(thread) thread:set("number", threads); threads = threads + 1 end
function init(args)
  local headers = {}
  if args[2] == "gzip" then headers["Accept-Encoding"] = "gzip" end
  for path in io.lines(args[1]) do requests[#requests + 1] = wrk.format("GET", path, headers) end
  at = number * 17
end
function request()
  at = at + 1
  return requests[at % #requests + 1]
end
`

// A load is what wrk puts on a server.
type load struct {
	conns  int
	gzip   bool
	missed bool // every answer has to be 404, else none may be
}

var (
	reRate = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	reDone = regexp.MustCompile(`(\d+) requests in`)
	reBad  = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	reSock = regexp.MustCompile(`Socket errors: (.*)`)
)

// shoot puts a load on a server for a while and returns requests per second.
func shoot(ctx context.Context, dir string, s *server, l load, paths []string, d time.Duration) (float64, error) {
	lua, list := filepath.Join(dir, "paths.lua"), filepath.Join(dir, "paths.txt")
	if err := os.WriteFile(lua, []byte(script), 0o644); err != nil {
		return 0, err
	}
	if err := os.WriteFile(list, []byte(strings.Join(paths, "\n")+"\n"), 0o644); err != nil {
		return 0, err
	}
	mode := "plain"
	if l.gzip {
		mode = "gzip"
	}
	out, err := exec.CommandContext(ctx, "wrk", "-t", strconv.Itoa(min(2, l.conns)), "-c", strconv.Itoa(l.conns),
		"-d", fmt.Sprintf("%.0fs", d.Seconds()), "--timeout", "30s", "-s", lua, "http://"+s.addr, "--", list, mode).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk on %s: %w: %s", s.name, err, out)
	}
	text := string(out)
	done, bad := field(reDone, text), field(reBad, text)
	if m := reSock.FindString(text); m != "" {
		return 0, fmt.Errorf("wrk on %s: %s", s.name, m)
	}
	if done == 0 || l.missed && bad != done || !l.missed && bad > 0 {
		return 0, fmt.Errorf("wrk on %s: %.0f answers, of them %.0f neither 2xx nor 3xx, for %s and so on", s.name, done, bad, paths[0])
	}
	return field(reRate, text), nil
}

func field(re *regexp.Regexp, text string) float64 {
	m := re.FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseFloat(m[1], 64) // digits by the expression
	return n
}
