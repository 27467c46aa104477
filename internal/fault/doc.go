// Package fault lets a test build break at named points: die there, stop there,
// or see another wall clock. In a build without the tag "faults", which is every
// one that ships, its functions are empty and cost nothing.
//
// In a build with the tag, the variable SYMKEEP_FAULTS names a directory. A file
// "kill-NAME" there makes the process kill itself, as with SIGKILL, when it next
// comes to the point NAME; the file is removed first. A file "stop-NAME" makes it
// stop, as with SIGSTOP. A file "clock" holds a duration, such as "-1h", by which
// the wall clock is off. A file named for a number, such as "snapshot-threshold",
// holds the value to use instead of the usual one; it is read once, at the start.
package fault
