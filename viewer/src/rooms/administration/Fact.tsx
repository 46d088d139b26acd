/** One figure of a list of facts. */
export function Fact({ label, value, bad }: { label: string; value: string; bad?: boolean }) {
  return (
    <div>
      <dt>{label}</dt>
      <dd data-bad={bad || undefined}>{value}</dd>
    </div>
  );
}
