package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// podInitCommand is the hidden sub-command by which this program becomes the first process of a container.
const podInitCommand = "pod-init"

// initSpec is what the first process of a container is told, as JSON on its standard input.
type initSpec struct {
	Hostname string
	// Root is an empty folder, where a small filesystem in memory becomes the root.
	Root         string
	ReadOnlyRoot bool
	Links        map[string]string // Symbolic links by path.
	Files        map[string]string // Contents by path.
	Binds        []bind            // In this order.
	Folder       string            // Where the program starts.
	// Arguments begin with the path of the program. Environment has NAME=value.
	Arguments   []string
	Environment []string
	User        int
	Group       int
	Groups      []int
	// DropCapabilities takes all of them away, for good, even from root.
	DropCapabilities bool
	NoNewPrivileges  bool
}

// bind makes a file or folder of the node visible in the container.
type bind struct {
	Source   string
	Target   string
	ReadOnly bool
}

// RunPodInit turns this process into a container's first process if it was started as one, and does not return then. Every
// program that starts a Node must call it before anything else.
func RunPodInit() {
	if len(os.Args) != 2 || os.Args[1] != podInitCommand {
		return
	}
	if err := becomeContainer(); err != nil {
		fmt.Fprintln(os.Stderr, "starting the container:", err)
		os.Exit(128)
	}
}

func becomeContainer() error {
	var spec initSpec
	if err := json.NewDecoder(os.Stdin).Decode(&spec); err != nil {
		return fmt.Errorf("reading the specification: %w", err)
	}
	runtime.LockOSThread() // Some of what follows is a property of the thread, and is inherited by the program.
	if err := spec.makeRoot(); err != nil {
		return err
	}
	if err := spec.enterRoot(); err != nil {
		return err
	}
	if err := spec.dropPrivileges(); err != nil {
		return err
	}
	return fmt.Errorf("executing %s: %w", spec.Arguments[0], syscall.Exec(spec.Arguments[0], spec.Arguments, spec.Environment))
}

// makeRoot builds the root filesystem below spec.Root. The mount namespace is the container's own already.
func (s *initSpec) makeRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	if err := unix.Mount("root", s.Root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mounting the root: %w", err)
	}
	temporary := filepath.Join(s.Root, "tmp")
	if err := errors.Join(os.Mkdir(temporary, 0o777), os.Chmod(temporary, os.ModeSticky|0o777)); err != nil {
		return fmt.Errorf("making the root: %w", err)
	}
	for path, target := range s.Links {
		if err := os.Symlink(target, filepath.Join(s.Root, path)); err != nil {
			return fmt.Errorf("making the root: %w", err)
		}
	}
	for path, text := range s.Files {
		file := filepath.Join(s.Root, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("making the root: %w", err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return fmt.Errorf("making the root: %w", err)
		}
	}
	for _, one := range s.Binds {
		if err := one.mount(s.Root); err != nil {
			return err
		}
	}
	proc := filepath.Join(s.Root, "proc")
	if err := os.MkdirAll(proc, 0o555); err != nil {
		return fmt.Errorf("making the root: %w", err)
	}
	if err := unix.Mount("proc", proc, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	return nil
}

func (b bind) mount(root string) error {
	info, err := os.Stat(b.Source)
	if err != nil {
		return fmt.Errorf("mounting %s: %w", b.Target, err)
	}
	target := filepath.Join(root, b.Target)
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		var file *os.File
		if file, err = os.OpenFile(target, os.O_CREATE|os.O_RDONLY, 0o644); err == nil {
			file.Close()
		}
	}
	if err != nil {
		return fmt.Errorf("making the mount point %s: %w", b.Target, err)
	}
	if err := unix.Mount(b.Source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mounting %s: %w", b.Target, err)
	}
	if !b.ReadOnly {
		return nil
	}
	if err := unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("making %s read-only: %w", b.Target, err)
	}
	return nil
}

// enterRoot uses chroot rather than pivot_root: the program is to find its surroundings, not to be locked up.
func (s *initSpec) enterRoot() error {
	if err := unix.Chroot(s.Root); err != nil {
		return fmt.Errorf("entering the root: %w", err)
	}
	if err := unix.Chdir(s.Folder); err != nil {
		return fmt.Errorf("entering the working folder %s: %w", s.Folder, err)
	}
	if s.ReadOnlyRoot {
		if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("making the root read-only: %w", err)
		}
	}
	if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	return unix.Dup2(int(null.Fd()), 0) // The specification's pipe is no input of the program's.
}

func (s *initSpec) dropPrivileges() error {
	if s.DropCapabilities {
		for capability := uintptr(0); ; capability++ {
			err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
			if errors.Is(err, unix.EINVAL) {
				break // The kernel knows no more of them.
			}
			if err != nil {
				return fmt.Errorf("dropping capability %d: %w", capability, err)
			}
		}
	}
	if err := syscall.Setgroups(s.Groups); err != nil {
		return fmt.Errorf("setting the groups: %w", err)
	}
	if err := syscall.Setgid(s.Group); err != nil {
		return fmt.Errorf("setting the group: %w", err)
	}
	if err := syscall.Setuid(s.User); err != nil {
		return fmt.Errorf("setting the user: %w", err)
	}
	if s.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("giving up new privileges: %w", err)
		}
	}
	return nil
}
