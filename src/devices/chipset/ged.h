#pragma once

/*
 * The generic event device (ACPI specification, 5.6.9): how a guest without legacy hardware
 * hears of the power button and of a new VM generation id.  device: what the "ged" device's create
 * returned.  Any thread; the guest is told at once if it runs, or when it resumes.
 */
void ged_press_power_button(void *device);
void ged_vm_generation_changed(void *device);
