// What the page of access decides by itself.
import type { Schemas } from '$lib/api/client';
import { formatBytes, formatCount } from '$lib/format';

type Group = Schemas['EnvironmentGroup'];
type User = Schemas['EnvironmentGroupUser'];

const MIB = 1024 * 1024;

/** What a person is called. */
export const nameOf = (user: User): string => user.name ?? user.email ?? user.user_id;

/** Who may change the environments of a group. */
export function whoMayChange(group: Group): string {
  if (!group.manage_access.is_restricted) return 'Everybody who may manage models';
  const names = (group.manage_access.users ?? []).map(nameOf);
  return names.length === 0 ? 'Administrators' : names.join(', ');
}

/** `2 CPUs`, `0.5 CPUs`. */
export function cpusOf(machine: Schemas['InstanceType']): string {
  const cpus = machine.millicpu_limit / 1000;
  return cpus === 1 ? '1 CPU' : `${cpus.toLocaleString()} CPUs`;
}

/** `8 GiB`. */
export const memoryOf = (machine: Schemas['InstanceType']): string => formatBytes(machine.memory_limit_mib * MIB);

/** `2 × A10G (24 GiB each)`; nothing without one. */
export function gpusOf(machine: Schemas['InstanceType']): string | undefined {
  if (machine.gpu_count === 0) return undefined;
  const memory = machine.gpu_memory_limit_mib ? ` (${formatBytes(machine.gpu_memory_limit_mib * MIB)} each)` : '';
  return `${formatCount(machine.gpu_count)} × ${machine.gpu_type ?? 'GPU'}${memory}`;
}
