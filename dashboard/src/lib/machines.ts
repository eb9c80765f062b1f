// What an instance type has, in words.
import type { Schemas } from './api/client';
import { formatBytes, formatCount } from './format';

type Machine = Schemas['InstanceType'];
const MIB = 1024 * 1024;

/** `2 CPUs`, `0.5 CPUs`. */
export function cpusOf(machine: Machine): string {
  const cpus = machine.millicpu_limit / 1000;
  return cpus === 1 ? '1 CPU' : `${cpus.toLocaleString()} CPUs`;
}

/** `8 GiB`. */
export const memoryOf = (machine: Machine): string => formatBytes(machine.memory_limit_mib * MIB);

/** `2 × A10G (24 GiB each)`; nothing without one. */
export function gpusOf(machine: Machine): string | undefined {
  if (machine.gpu_count === 0) return undefined;
  const memory = machine.gpu_memory_limit_mib ? ` (${formatBytes(machine.gpu_memory_limit_mib * MIB)} each)` : '';
  return `${formatCount(machine.gpu_count)} × ${machine.gpu_type ?? 'GPU'}${memory}`;
}

/** `2 CPUs, 8 GiB`. */
export const machineInWords = (machine: Machine): string =>
  [cpusOf(machine), memoryOf(machine), gpusOf(machine)].filter(Boolean).join(', ');
