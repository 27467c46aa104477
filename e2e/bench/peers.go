package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// A server is what a load is put on.
type server struct {
	name string
	addr string // host:port
	stop func()
}

// startNginx serves the files under root the way a static server is set up for speed:
// sendfile, open files remembered, no log of requests.
func startNginx(ctx context.Context, dir, root string) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`worker_processes auto;
daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/nginx-errors.log crit;
events { worker_connections 1024; }
http {
	access_log off; log_not_found off; server_tokens off;
	sendfile on; tcp_nopush on; tcp_nodelay on;
	keepalive_timeout 60s; keepalive_requests 100000000;
	open_file_cache max=10000 inactive=60s; open_file_cache_valid 60s; open_file_cache_errors on;
	default_type application/octet-stream;
	client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
	server { listen 127.0.0.1:%[2]d; root %[3]s; }
}
`, dir, port, root)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return nil, err
	}
	p, err := start(dir, systemCommand("nginx"), "-c", conf, "-e", filepath.Join(dir, "nginx-errors.log"))
	if err != nil {
		return nil, err
	}
	s := &server{"nginx", fmt.Sprintf("127.0.0.1:%d", port), p.stop}
	return s, p.await(ctx, "http://"+s.addr+"/", func(*http.Response) bool { return true })
}

// startDebuginfod has elfutils' server index the files under root and returns once it
// has read so many of them.
func startDebuginfod(ctx context.Context, dir, root string, files int) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p, err := start(dir, systemCommand("debuginfod"), "-F", "-d", filepath.Join(dir, "debuginfod.sqlite"),
		"-p", fmt.Sprint(port), "-t", "0", "-g", "0", root)
	if err != nil {
		return nil, err
	}
	s := &server{"debuginfod", fmt.Sprintf("127.0.0.1:%d", port), p.stop}
	return s, p.await(ctx, "http://"+s.addr+"/metrics", func(r *http.Response) bool {
		for sc := bufio.NewScanner(r.Body); sc.Scan(); {
			if n, ok := strings.CutPrefix(sc.Text(), "scanned_files_total"); ok && strings.HasSuffix(n, fmt.Sprintf(" %d", files)) {
				return true
			}
		}
		return false
	})
}

// systemCommand finds a server that Debian keeps out of the path of users.
func systemCommand(name string) string {
	if path := "/usr/sbin/" + name; exists(path) {
		return path
	}
	return name
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
