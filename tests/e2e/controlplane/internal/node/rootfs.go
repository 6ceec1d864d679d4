package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// What this machine lends to every container, read-only, where it exists.
var lent = []string{
	"/usr", "/etc/ssl", "/etc/ld.so.cache", "/etc/nsswitch.conf", "/etc/localtime",
	"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
}

// Folders of the root that are part of /usr on a merged system, and folders of their own otherwise.
var systemFolders = []string{"/bin", "/sbin", "/lib", "/lib64"}

// initSpec says how the container's first process makes its surroundings.
func (c *container) initSpec(object *corev1.Pod) (*initSpec, error) {
	environment, err := c.environment(object)
	if err != nil {
		return nil, err
	}
	spec := &initSpec{
		Hostname:    c.pod.name.Name,
		Root:        filepath.Join(c.pod.folder(), "containers", c.spec.Name),
		Folder:      "/",
		Arguments:   c.arguments(environment),
		Environment: pairs(environment),
		Files:       c.files(),
		Links:       map[string]string{},
	}
	if c.spec.WorkingDir != "" {
		spec.Folder = c.spec.WorkingDir
	}
	if err := c.secure(spec, object.Spec.SecurityContext); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(spec.Root, 0o755); err != nil {
		return nil, fmt.Errorf("making the container's folder: %w", err)
	}
	spec.lendSystem()
	spec.Binds = append(spec.Binds, bind{Source: c.program, Target: c.entryPoint(), ReadOnly: true})
	return spec, c.mountVolumes(spec)
}

func (c *container) entryPoint() string { return "/" + filepath.Base(c.program) }

// arguments are the image's entry point unless the container has a command, and the expanded arguments.
func (c *container) arguments(environment map[string]string) []string {
	arguments := []string{c.entryPoint()}
	if len(c.spec.Command) > 0 {
		arguments = nil
	}
	for _, text := range slices.Concat(c.spec.Command, c.spec.Args) {
		arguments = append(arguments, expand(text, environment))
	}
	return arguments
}

// files are what a container runtime and the base of an image would bring.
func (c *container) files() map[string]string {
	return map[string]string{
		"/etc/hostname":    c.pod.name.Name + "\n",
		"/etc/hosts":       fmt.Sprintf("127.0.0.1\tlocalhost\n%s\t%s\n", c.pod.address, c.pod.name.Name),
		"/etc/resolv.conf": "# There is no name server here.\n",
		"/etc/passwd":      "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n",
		"/etc/group":       "root:x:0:\nnonroot:x:65532:\n",
	}
}

func (s *initSpec) lendSystem() {
	for _, path := range systemFolders {
		if target, err := os.Readlink(path); err == nil {
			s.Links[path] = target
		} else if _, err := os.Stat(path); err == nil {
			s.Binds = append(s.Binds, bind{Source: path, Target: path, ReadOnly: true})
		}
	}
	for _, path := range lent {
		if _, err := os.Stat(path); err == nil {
			// A device stays usable for writing on a read-only mount.
			s.Binds = append(s.Binds, bind{Source: path, Target: path, ReadOnly: true})
		}
	}
}

// secure takes user, groups and privileges from the container's security context, or else from the pod's.
func (c *container) secure(spec *initSpec, shared *corev1.PodSecurityContext) error {
	own := c.spec.SecurityContext
	if own == nil {
		own = &corev1.SecurityContext{}
	}
	if shared == nil {
		shared = &corev1.PodSecurityContext{}
	}
	spec.User = int(first(own.RunAsUser, shared.RunAsUser))
	spec.Group = int(first(own.RunAsGroup, shared.RunAsGroup))
	for _, group := range shared.SupplementalGroups {
		spec.Groups = append(spec.Groups, int(group))
	}
	if shared.FSGroup != nil {
		spec.Groups = append(spec.Groups, int(*shared.FSGroup))
	}
	spec.ReadOnlyRoot = first(own.ReadOnlyRootFilesystem)
	spec.NoNewPrivileges = own.AllowPrivilegeEscalation != nil && !*own.AllowPrivilegeEscalation
	if own.Capabilities != nil {
		spec.DropCapabilities = slices.Contains(own.Capabilities.Drop, "ALL")
	}
	if first(own.RunAsNonRoot, shared.RunAsNonRoot) && spec.User == 0 {
		return configError{errors.New("runAsNonRoot, but the user is root")}
	}
	return nil
}

// first is the first value that is set.
func first[T any](values ...*T) T {
	for _, value := range values {
		if value != nil {
			return *value
		}
	}
	var zero T
	return zero
}

// mountVolumes orders the mounts so that one below another comes later.
func (c *container) mountVolumes(spec *initSpec) error {
	mounts := slices.Clone(c.spec.VolumeMounts)
	slices.SortStableFunc(mounts, func(a, b corev1.VolumeMount) int {
		return strings.Count(a.MountPath, "/") - strings.Count(b.MountPath, "/")
	})
	for _, mount := range mounts {
		if mount.SubPathExpr != "" {
			return configError{fmt.Errorf("volumeMount %s: subPathExpr is not modelled", mount.Name)}
		}
		source := filepath.Join(c.pod.volumes.path(mount.Name), mount.SubPath)
		if mount.SubPath != "" {
			// As in a real cluster, a file that is mounted by its sub-path keeps the content of that moment.
			resolved, err := filepath.EvalSymlinks(source)
			if err != nil {
				return fmt.Errorf("volumeMount %s: %w", mount.Name, err)
			}
			source = resolved
		}
		readOnly := mount.ReadOnly || c.pod.volumes.readOnly(mount.Name)
		spec.Binds = append(spec.Binds, bind{Source: source, Target: mount.MountPath, ReadOnly: readOnly})
	}
	return nil
}
