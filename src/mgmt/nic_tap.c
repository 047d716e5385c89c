#include "mgmt/nic_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"

#define TUN_DEVICE "/dev/net/tun"
#define USUAL_MTU  1500

/* Reads a number from the interface's directory in sysfs; -errno. */
static int read_attribute(const char *interface, const char *name, unsigned long *out)
{
	char path[128];
	char text[32];
	CLEANUP_CLOSE int fd = -1;
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", interface, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	length = read(fd, text, sizeof(text) - 1);
	if (length < 0)
		return -errno;
	text[length] = '\0';
	*out = strtoul(text, NULL, 0);
	return 0;
}

/*
 * Whether it is a tap that nobody uses: the kernel would let a second program have further queues
 * of one with several, and a name that is not there it might take for one to be made.
 */
static int check_interface(const struct run_nic *nic, unsigned long *flags, struct error *err)
{
	unsigned long carrier;

	if (!if_nametoindex(nic->where))
		return error_set(err, ENODEV,
				 "--nic %.200s: the host has no interface of this name; make one: "
				 "ip tuntap add %.16s mode tap multi_queue user USER",
				 nic->text, nic->where);
	if (read_attribute(nic->where, "tun_flags", flags))
		*flags = 0;
	if (!(*flags & IFF_TAP))
		return error_set(err, EINVAL,
				 "--nic %.200s: it is not a tap; give one (ip tuntap add tap0 mode "
				 "tap), which may be in a bridge with %.16s",
				 nic->text, nic->where);
	if (!read_attribute(nic->where, "carrier", &carrier) && carrier)
		return error_set(err, EBUSY,
				 "--nic %.200s: another program uses it; give this VM a tap of its "
				 "own",
				 nic->text);
	return 0;
}

static int choose_queues(const struct run_nic *nic, unsigned long flags, unsigned int wanted,
			 unsigned int *count, struct error *err)
{
	if (flags & IFF_MULTI_QUEUE) {
		*count = nic->queues ? nic->queues : MIN(wanted, (unsigned int)NIC_QUEUES_MAX);
		return 0;
	}
	*count = 1;
	if (nic->queues <= 1)
		return 0;
	return error_set(err, EINVAL,
			 "--nic %.200s: this tap was made with one queue; make it with multi_queue "
			 "(ip tuntap add ... multi_queue), or leave out queues=",
			 nic->text);
}

static int open_failed(const struct run_nic *nic, int errnum, struct error *err)
{
	switch (errnum) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return error_set(err, errnum,
				 "--nic %.200s: " TUN_DEVICE " is not there; load the tun module",
				 nic->text);
	case EACCES:
		return error_set(err, errnum,
				 "--nic %.200s: you may not open " TUN_DEVICE
				 "; its mode should be 0666",
				 nic->text);
	default:
		return error_set(err, errnum, "--nic %.200s: " TUN_DEVICE ": %s; see dmesg",
				 nic->text, strerror(errnum));
	}
}

static int attach_failed(const struct run_nic *nic, int errnum, struct error *err)
{
	switch (errnum) {
	case EPERM:
	case EACCES:
		return error_set(err, errnum,
				 "--nic %.200s: you may not use this tap; make it yours: ip tuntap "
				 "add %.16s mode tap multi_queue user USER",
				 nic->text, nic->where);
	case EBUSY:
		return error_set(err, errnum,
				 "--nic %.200s: another program uses it; give this VM a tap of its "
				 "own",
				 nic->text);
	default:
		return error_set(err, errnum,
				 "--nic %.200s: the kernel does not give us the tap: %s; make it "
				 "anew",
				 nic->text, strerror(errnum));
	}
}

/* One more queue; a former user's settings are undone. */
static int open_queue(const struct run_nic *nic, unsigned long flags, struct error *err)
{
	CLEANUP_CLOSE int fd = open(TUN_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
						     (flags & IFF_MULTI_QUEUE))};
	int header = sizeof(struct virtio_net_hdr);

	if (fd < 0)
		return open_failed(nic, errno, err);
	memcpy(request.ifr_name, nic->where, strlen(nic->where));
	if (ioctl(fd, TUNSETIFF, &request))
		return attach_failed(nic, errno, err);
	if (ioctl(fd, TUNSETVNETHDRSZ, &header) || ioctl(fd, TUNSETOFFLOAD, 0))
		return attach_failed(nic, errno, err);
	return TAKE_FD(fd);
}

static int read_mtu(const struct run_nic *nic, uint32_t *mtu, struct error *err)
{
	unsigned long value;
	int r = read_attribute(nic->where, "mtu", &value);

	if (r)
		return error_host(err, -r, "--nic %.200s: cannot read its MTU", nic->text);
	*mtu = (uint32_t)value;
	return 0;
}

int nic_tap_open(const struct run_nic *nic, unsigned int queues_wanted, int fds[NIC_QUEUES_MAX],
		 unsigned int *count, uint32_t *mtu, struct error *err)
{
	unsigned int queues = 0;
	unsigned int opened = 0;
	unsigned long flags;
	int r = check_interface(nic, &flags, err);

	if (!r)
		r = choose_queues(nic, flags, queues_wanted, &queues, err);
	if (!r)
		r = read_mtu(nic, mtu, err);
	for (; !r && opened < queues; opened++) {
		fds[opened] = open_queue(nic, flags, err);
		if (fds[opened] < 0) {
			r = fds[opened];
			break;
		}
	}
	if (r) {
		while (opened)
			close(fds[--opened]);
		return r;
	}
	*count = queues;
	return 0;
}

/* Its settings are ours to make, whoever it had before. */
static int prepare_given(const struct run_nic *nic, int fd, char interface[IFNAMSIZ],
			 struct error *err)
{
	struct ifreq request = {.ifr_flags = 0};
	int header = sizeof(struct virtio_net_hdr);

	if (ioctl(fd, TUNGETIFF, &request) || !(request.ifr_flags & IFF_TAP) ||
	    !(request.ifr_flags & IFF_VNET_HDR))
		return error_set(err, EINVAL,
				 "--nic %.200s: descriptor %d is not a tap with the header of "
				 "virtio; give one",
				 nic->text, fd);
	if (ioctl(fd, TUNSETVNETHDRSZ, &header) || ioctl(fd, TUNSETOFFLOAD, 0))
		return error_host(err, errno, "--nic %.200s: the tap cannot be set up", nic->text);
	memcpy(interface, request.ifr_name, IFNAMSIZ);
	return 0;
}

/* By a socket, for sysfs may show another namespace; where the interface is in another one, its
 * usual MTU. */
static uint32_t mtu_of(const char *interface)
{
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_mtu = 0};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (fd < 0 || ioctl(fd, SIOCGIFMTU, &request) || request.ifr_mtu <= 0)
		return USUAL_MTU;
	return (uint32_t)request.ifr_mtu;
}

int nic_tap_take(const struct run_nic *nic, int fds[NIC_QUEUES_MAX], unsigned int *count,
		 uint32_t *mtu, struct error *err)
{
	char interface[IFNAMSIZ] = "";
	int r = 0;

	for (unsigned int i = 0; !r && i < nic->fd_count; i++)
		r = prepare_given(nic, nic->fds[i], interface, err);
	if (r)
		return r;
	*mtu = mtu_of(interface);
	memcpy(fds, nic->fds, nic->fd_count * sizeof(fds[0]));
	*count = nic->fd_count;
	return 0;
}
