import { Choices } from './TablePage';

/** Transfer syntaxes that a list is made of. The names are the standard's. */
const transferSyntaxes: Record<string, string> = {
  '1.2.840.10008.1.2': 'Implicit VR Little Endian',
  '1.2.840.10008.1.2.1': 'Explicit VR Little Endian',
  '1.2.840.10008.1.2.1.99': 'Deflated Explicit VR Little Endian',
  '1.2.840.10008.1.2.4.50': 'JPEG Baseline',
  '1.2.840.10008.1.2.4.51': 'JPEG Extended',
  '1.2.840.10008.1.2.4.70': 'JPEG Lossless',
  '1.2.840.10008.1.2.4.80': 'JPEG-LS Lossless',
  '1.2.840.10008.1.2.4.81': 'JPEG-LS Near-Lossless',
  '1.2.840.10008.1.2.4.90': 'JPEG 2000 Lossless',
  '1.2.840.10008.1.2.4.91': 'JPEG 2000',
  '1.2.840.10008.1.2.4.201': 'HTJ2K Lossless',
  '1.2.840.10008.1.2.4.203': 'HTJ2K',
  '1.2.840.10008.1.2.5': 'RLE Lossless',
};

interface Props {
  legend: string;
  hint: string;
  chosen: string[];
  onChange: (chosen: string[]) => void;
}

/** Some transfer syntaxes; also those of the list that have no name here. */
export function SyntaxChoices({ legend, hint, chosen, onChange }: Props) {
  const all = [...new Set([...Object.keys(transferSyntaxes), ...chosen])];
  return <Choices legend={legend} hint={hint} all={all} chosen={chosen} onChange={onChange} nameOf={(uid) => transferSyntaxes[uid] ?? uid} />;
}
