#include "mgmt/vmms/switch_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

#define TUN_DEVICE "/dev/net/tun"
#define TAP_NAMES  "bhtap%d" /* the kernel takes the first number that is free */

static int open_failed(int errnum, struct error *err)
{
	if (errnum == ENOENT || errnum == ENODEV || errnum == ENXIO)
		return error_set(err, errnum,
				 TUN_DEVICE " is not there; load the kernel's module tun");
	return error_host(err, errnum, "cannot open " TUN_DEVICE);
}

static int make_failed(int errnum, struct error *err)
{
	if (errnum == EPERM || errnum == EACCES)
		return error_set(err, errnum,
				 "this daemon may make no tap (CAP_NET_ADMIN); start it as root, "
				 "or give the VM a NIC of the kind \"user\"");
	return error_host(err, errnum, "the kernel makes no tap");
}

/* The first queue makes the tap, the others join it by its name. */
static int open_queue(short flags, char interface[IFNAMSIZ], struct error *err)
{
	CLEANUP_CLOSE int fd = open(TUN_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct ifreq request = {.ifr_flags = flags};
	int header = sizeof(struct virtio_net_hdr);

	if (fd < 0)
		return open_failed(errno, err);
	memcpy(request.ifr_name, interface, IFNAMSIZ);
	if (ioctl(fd, TUNSETIFF, &request) || ioctl(fd, TUNSETVNETHDRSZ, &header) ||
	    ioctl(fd, TUNSETOFFLOAD, 0))
		return make_failed(errno, err);
	memcpy(interface, request.ifr_name, IFNAMSIZ);
	return TAKE_FD(fd);
}

int switch_tap_make(unsigned int queues, int *fds, char interface[IFNAMSIZ], struct error *err)
{
	int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (queues > 1 ? IFF_MULTI_QUEUE : 0);
	char name[IFNAMSIZ] = TAP_NAMES;
	unsigned int opened;

	for (opened = 0; opened < queues; opened++) {
		int fd = open_queue((short)flags, name, err);

		if (fd < 0) {
			while (opened)
				close(fds[--opened]);
			return fd;
		}
		fds[opened] = fd;
	}
	memcpy(interface, name, IFNAMSIZ);
	return 0;
}
