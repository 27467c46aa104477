package share_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestSMB reads the tree as a Windows debugger does: through smbd, in another
// case, and cannot write.
func TestSMB(t *testing.T) {
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
	for _, c := range []string{"smbd", "smbclient"} {
		if _, err := exec.LookPath(c); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip(err, ": scripts/need.sh smb installs it")
		}
	}
	n := newNode(t)
	k := pdb("App.pdb", 1)
	d := n.pack("content", "app.pdb")
	n.publish("P", d, k)
	n.sync()

	dir, port := t.TempDir(), freePort(t)
	run := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil && name != "smbclient" { // which fails where it should
			t.Fatalf("%s %s: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	run("../../scripts/smbserver.sh", dir, n.dir, port)
	defer run("../../scripts/smbserver.sh", dir, "stop")
	client := func(command string) string {
		return run("smbclient", "-N", "-p", port, "//127.0.0.1/symbols", "-c", command)
	}

	got := filepath.Join(t.TempDir(), "got")
	client(`get "APP.PDB\` + strings.ToLower(k.StoreID()) + `\App.Pd_" ` + got)
	want, err := os.ReadFile(n.Path(d))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(got); err != nil || string(b) != string(want) {
		t.Errorf("read through SMB: %d bytes, %v, want the blob's %d", len(b), err, len(want))
	}
	if ls := client("ls"); !strings.Contains(ls, "pingme.txt") || !strings.Contains(ls, "app.pdb") || strings.Contains(ls, "symkeep-share") {
		t.Errorf("ls = %s, want pingme.txt and app.pdb, and no marker", ls)
	}
	for _, command := range []string{"put share_test.go x", "rm pingme.txt", `get .symkeep-share ` + got} {
		if out := client(command); !strings.Contains(out, "NT_STATUS_") {
			t.Errorf("%s = %s, want it refused", command, out)
		}
	}
	n.wantTree(at(k))
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
}
