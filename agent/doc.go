// Package agent is the build side: it scans files, pairs executables with their
// debug files, checks them, packs and uploads what the cluster lacks, and waits for
// the verdict. It needs no tool of any platform and runs on every one.
//
// Push and Check are one call each. What happens on the way is told to a
// Reporter, from several goroutines at once; the renderers of this package are
// Reporters that write JSON lines, plain lines or progress bars. Nothing outlives
// the call. Files are read as streams: memory does not grow with their size. Packed
// files and members of archives are in temporary files while they are needed.
//
// The rules of the command line, the result object and the exit codes stand in
// the design of the product, section "The command line".
package agent
